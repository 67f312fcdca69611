#!/usr/bin/env bash
# After Snakemake itself was killed: its jobs run on and would be submitted again, and its lock is still there.
# Run this in the working directory of the run: it cancels the jobs that were submitted from here, waits until they are
# gone (they save first), and frees the lock. Then start Snakemake again; it goes on where the jobs were.
#
#   profiles/slurm/recover.sh [flags that Snakemake was started with, such as --configfile]
set -euo pipefail
profile="$(cd "$(dirname "$0")" && pwd)"
mine() { squeue --me --noheader --format "%A %j %Z" | awk -v here="$(pwd -P)" '$2 ~ /^wm_/ && $3 == here { print $1 }'; }

jobs="$(mine)"
if [ -n "$jobs" ]; then
  echo "cancelling" $jobs
  scancel $jobs
  while [ -n "$(mine)" ]; do sleep 1; done
fi
installed="$profile/../../.venv/bin/snakemake"
[ -x "$installed" ] || installed=snakemake
"$installed" --snakefile "$profile/../../Snakefile" "$@" --cores 1 --unlock
