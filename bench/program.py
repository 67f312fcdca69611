"""What the benchmarks' command lines share."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from bench import measure
from worldmodels.runtime.log import log
from worldmodels.runtime.program import keep_freed_memory


def make_parser(description: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """Return a parser with the flags of every benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="rounds; each measures every row once (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="cores to use (default: all, %(default)s)")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count CPU time, for a busy machine: for V, latents and M with --threads 1, and for the workflow",
    )
    parser.add_argument("--output", help="JSON file to write (default: bench/results/<program>.json)")
    return parser


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a benchmark that needs a finished run."""
    parser.add_argument("--logdir", default="results/carracing", help="a finished run (default: %(default)s)")
    parser.add_argument("--data-dir", help="the run's rollouts (default: <logdir>/rollouts)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")


def rollout_files(args: argparse.Namespace, limit: int | None = None) -> list[str]:
    """Return the run's rollout files, at most `limit` of them. Without rollouts the program ends."""
    folder = Path(args.data_dir or f"{args.logdir}/rollouts")
    files = sorted(map(str, folder.glob("*.npz")))
    if not files:
        sys.exit(f"error: {folder}: expected rollouts (*.npz), found none; --logdir names a finished run")
    return files[:limit]


def latents_file(args: argparse.Namespace) -> Path:
    """Return the run's latents. Without latents the program ends."""
    folder = Path(args.logdir) / "latents"
    files = sorted(folder.glob("latents_*.npz"))
    if not files:
        sys.exit(f"error: {folder}: expected latents_<n>.npz, found none; --logdir names a finished run")
    return files[0]


def run_benchmark(parser: argparse.ArgumentParser, main: Callable[[argparse.Namespace], None]) -> None:
    """Parse the flags and run main(args) with --threads threads."""
    args = parser.parse_args()
    if args.cpu_time:
        measure.count_cpu_time()
    torch.set_num_threads(max(1, args.threads))
    keep_freed_memory()
    log.setLevel("WARNING")
    main(args)
