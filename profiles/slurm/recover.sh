#!/usr/bin/env bash
# After Snakemake itself was killed: its jobs run on and would be submitted again, and its lock is still there.
# Run this in the working directory of the run: it cancels the jobs that were submitted from here, waits until they are
# gone (they save first), and frees the lock. Then start Snakemake again; it goes on where the jobs were.
# Where it cannot be sure that no job is left, it frees nothing and ends with an error.
#
#   profiles/slurm/recover.sh [flags that Snakemake was started with, such as --configfile]
set -euo pipefail
profile="$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)"
here="$(pwd -P)"

stop() {
  echo "recover.sh: $1; the lock is not freed" >&2
  exit 1
}

# Set `jobs` to the ids of the jobs that Snakemake submitted from here. A folder's name may hold anything, so it stands
# last in squeue's lines; the ids and the names of Snakemake's jobs hold no bar.
find_jobs() {
  local queue id name folder
  queue="$(squeue --me --noheader --format '%A|%j|%Z')" || stop "squeue failed, so jobs may be running"
  jobs=()
  while IFS= read -r line; do
    id="${line%%|*}" line="${line#*|}"
    name="${line%%|*}" folder="${line#*|}"
    if [[ "$name" == wm_* && "$folder" == "$here" ]]; then jobs+=("$id"); fi
  done <<< "$queue"
}

[[ "$here" != *$'\n'* ]] || stop "expected a folder whose name is one line, since squeue prints it"
find_jobs
if ((${#jobs[@]})); then
  echo "cancelling ${jobs[*]}"
  if ! scancel "${jobs[@]}"; then
    find_jobs # a job that has just ended is no failure
    ((${#jobs[@]} == 0)) || stop "scancel failed for ${jobs[*]}"
  fi
  while find_jobs && ((${#jobs[@]})); do sleep 1; done
fi
installed="$profile/../../.venv/bin/snakemake"
[ -x "$installed" ] || installed=snakemake
"$installed" --snakefile "$profile/../../Snakefile" "$@" --cores 1 --unlock
