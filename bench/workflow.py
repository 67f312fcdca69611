"""Measure Snakemake itself, seconds: dry runs, and a run with nothing to do, with 10,000 rollouts in shards of 100.

    python -m bench.workflow

The finished results are empty files in a temporary folder. `snakemake --touch` declares them finished.
"""

import resource
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from functools import partial
from pathlib import Path

from bench import ROOT, measure, program
from bench.report import Goal, report

GOAL_SECONDS = 10.0


def main(args: Namespace) -> None:
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as finished:
        finish(finished, args)
        nothing = "Nothing to be done"
        methods = {
            "limit": lambda: GOAL_SECONDS,
            "dry run, all to do": partial(time_call, empty, args, "-n", expected="rule train_vae"),
            "dry run, nothing to do": partial(time_call, finished, args, "-n", expected=nothing),
            "run, nothing to do": partial(time_call, finished, args, expected=nothing),
        }
        rates = measure.alternate(methods, args.rounds)
    goals = [Goal(row, "limit", 1.0, at_most=True) for row in methods if row != "limit"]
    title = f"Snakemake: {args.rollouts:,} rollouts in shards of {args.shard_size}"
    report(args, title, "seconds", rates, "limit", goals)


def finish(folder: str, args: Namespace) -> None:
    """Create every file of a run, empty, and declare the run finished."""
    _, *rows = call_snakemake(folder, args, "--summary").stdout.splitlines()
    for row in rows:
        path = Path(folder, row.split("\t")[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    call_snakemake(folder, args, "--touch")


def time_call(folder: str, args: Namespace, *flags: str, expected: str) -> float:
    """Return the seconds that a call of Snakemake takes. The program ends if the output lacks the expected text."""
    start = clock(args)
    process = call_snakemake(folder, args, *flags)
    elapsed, output = clock(args) - start, process.stdout + process.stderr
    if expected not in output:
        sys.exit(f"error: expected {expected!r} of snakemake, found\n{output}")
    return elapsed


def clock(args: Namespace) -> float:
    """Return a time, seconds: wall time or, with --cpu-time, the CPU time of the processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime if args.cpu_time else time.perf_counter()


def call_snakemake(folder: str, args: Namespace, *flags: str) -> subprocess.CompletedProcess:
    """Call Snakemake in the folder. The program ends if the call fails."""
    config = f"rollouts={{num_rollouts: {args.rollouts}, shard_size: {args.shard_size}}}"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    process = subprocess.run([*command, "--config", config, *flags], cwd=folder, capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"error: snakemake ended with {process.returncode}\n{process.stdout}{process.stderr}")
    return process


if __name__ == "__main__":
    parser = program.make_parser(__doc__)
    parser.add_argument("--rollouts", type=int, default=10_000, help="rollouts (default: %(default)s)")
    parser.add_argument("--shard-size", type=int, default=100, help="rollouts per shard (default: %(default)s)")
    program.run_benchmark(parser, main)
