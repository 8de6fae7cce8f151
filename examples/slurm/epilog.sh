#!/bin/sh
# Slurm's Epilog on each node: takes the job out of the files that prolog.sh has written.
set -eu
folder=${JOB_MAPPING_DIR:-/run/accelscope/jobs}
[ -n "${SLURM_JOB_ID:-}" ] && [ -d "$folder" ] || exit 0
(
    flock 9
    for file in "$folder"/*; do
        [ -f "$file" ] || continue
        # A reader sees the file before or after, and never half of it.
        grep -vx "$SLURM_JOB_ID" "$file" > "$folder/.new" || true
        if [ -s "$folder/.new" ]; then mv "$folder/.new" "$file"; else rm -f "$file" "$folder/.new"; fi
    done
) 9> "$folder/.lock"
