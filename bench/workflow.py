#!/usr/bin/env python
"""Snakemake's own time: a dry run from nothing and a run with nothing to do, with 10,000 rollouts in shards of 100.

    python bench/workflow.py

The finished results are empty files in a temporary folder, which `snakemake --touch` declares to be made.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

GOAL_SECONDS = 10


def snakemake(folder: str, args, *flags: str) -> subprocess.CompletedProcess:
    """A call that has gone well."""
    settings = f"rollouts={{num_rollouts: {args.rollouts}, shard_size: {args.shard_size}}}"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(common.ROOT / "Snakefile"), "--cores", "2"]
    done = subprocess.run([*command, "--config", settings, *flags], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: snakemake ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def seconds_of(folder: str, args, *flags: str, expected: str) -> float:
    """Seconds of a call, which has to say what is expected."""
    start = seconds(args)
    done = snakemake(folder, args, *flags)
    elapsed, said = seconds(args) - start, done.stdout + done.stderr
    if expected not in said:
        sys.exit(f"error: expected {expected!r} of snakemake, found\n{said}")
    return elapsed


def seconds(args) -> float:
    """A clock: of the wall or, with --cpu-time, of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime if args.cpu_time else time.perf_counter()


def finish(folder: str, args) -> None:
    """Make all that a run makes, as empty files."""
    _, *rows = snakemake(folder, args, "--summary").stdout.splitlines()
    for path in (Path(folder, row.split("\t")[0]) for row in rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    snakemake(folder, args, "--touch")


def main(args) -> None:
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as finished:
        finish(finished, args)
        methods = {
            "limit": lambda: float(GOAL_SECONDS),
            "dry run, all to do": lambda: seconds_of(empty, args, "-n", expected="rule train_vae"),
            "dry run, nothing to do": lambda: seconds_of(finished, args, "-n", expected="Nothing to be done"),
            "run, nothing to do": lambda: seconds_of(finished, args, expected="Nothing to be done"),
        }
        rates = common.alternate(methods, args.rounds)
    goals = [common.Goal(row, "limit", 1.0, at_most=True) for row in list(methods)[1:]]
    title = f"Snakemake: {args.rollouts:,} rollouts in shards of {args.shard_size}"
    common.report(args, title, "seconds", rates, "limit", goals)


if __name__ == "__main__":
    made = common.parser(__doc__)
    made.add_argument("--rollouts", type=int, default=10_000, help="rollouts (default: %(default)s)")
    made.add_argument("--shard-size", type=int, default=100, help="rollouts a shard (default: %(default)s)")
    common.main(made, main)
