#!/bin/sh
# Slurm's Prolog on each node: notes which job has which NVIDIA GPU, in the form that dcgm-exporter reads, so that both
# can be used on one cluster. slurm.conf: Prolog=/etc/slurm/prolog.d/accelscope.sh, Epilog=.../epilog.d/accelscope.sh
#
# The folder has a file for each GPU, named by its number, with a job number on each line. Jobs may share a GPU.
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
