#!/bin/sh
# A line of Slurm's Prolog: a job does not start where an accelerator has failed. Slurm drains the node and queues the job
# again when a Prolog ends with another code than 0. In slurm.conf:
#   Prolog=/etc/slurm/prolog.d/*.sh
"${ACCELSCOPE:-/usr/bin/accelscope}" health --fail-on failed --timeout 5s || [ $? -eq 2 ]
