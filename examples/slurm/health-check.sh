#!/bin/sh
# Slurm's HealthCheckProgram: drains the node while one of its accelerators has failed. In slurm.conf:
#   HealthCheckProgram=/etc/slurm/health-check.sh
#   HealthCheckInterval=60
#   HealthCheckNodeState=ANY
# Slurm ends the program after 60 s; the verdict takes 5 s at most. What is only degraded, or not known, drains nothing.
set -u
verdict=$("${ACCELSCOPE:-/usr/bin/accelscope}" health --fail-on failed --timeout 5s)
[ $? -eq 1 ] || exit 0
"${SCONTROL:-scontrol}" update NodeName="${SLURMD_NODENAME:-$(hostname -s)}" State=DRAIN Reason="accelscope: $verdict"
