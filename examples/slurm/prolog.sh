#!/bin/sh
# Slurm's Prolog on each node: notes which job has which NVIDIA GPU, for
#   accelscope --workloads.job-mapping /run/accelscope/jobs
# in the form that dcgm-exporter reads too. In slurm.conf:
#   Prolog=/etc/slurm/prolog.d/accelscope.sh
#   Epilog=/etc/slurm/epilog.d/accelscope.sh
#
# The folder has a file for each GPU, named by its number, with the number of a job on each line. Jobs may share a GPU.
set -eu
folder=${JOB_MAPPING_DIR:-/run/accelscope/jobs}
[ -n "${SLURM_JOB_ID:-}" ] && [ -n "${SLURM_JOB_GPUS:-}" ] || exit 0
mkdir -p "$folder"
for gpu in $(echo "$SLURM_JOB_GPUS" | tr ',' ' '); do
    (
        # Prologs of two jobs may run at the same time.
        flock 9
        grep -qx "$SLURM_JOB_ID" "$folder/$gpu" 2>/dev/null || echo "$SLURM_JOB_ID" >> "$folder/$gpu"
    ) 9> "$folder/.lock"
done
