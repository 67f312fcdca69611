"""Measure what the curves for TensorBoard cost: the seconds in their writer against the seconds of each stage.

python -m bench.curves --logdir results/carracing

The histories of a finished run are written once more, row by row with the pictures, as the stages do it. Importing the
tensorboard package counts, too. What the stages took is in the run's benchmarks/.
"""

import csv
import json
import multiprocessing
import tempfile
import time
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench import program
from bench.report import Goal, report
from worldmodels.runtime.curves import Curves

STAGES = {"vae": "train_vae", "mdrnn": "train_mdrnn", "ctrl": "train_controller"}
ENDINGS = {"hits": 1, "endings": 2, "predicted": 2}  # which M's history lacks in runs of earlier versions


def main(args: Namespace) -> None:
    logdir, rates = Path(args.logdir), {}
    for stage in STAGES:
        rates[f"{stage}: stage"] = [stage_seconds(logdir, stage)] * args.rounds
        rates[f"{stage}: curves"] = [in_new_process(logdir, stage) for _ in range(args.rounds)]
    goals = [Goal(f"{stage}: curves", f"{stage}: stage", 0.01, at_most=True) for stage in STAGES]
    report(args, "Curves for TensorBoard", "seconds", rates, "vae: stage", goals)


def stage_seconds(logdir: Path, stage: str) -> float:
    """Return how long a stage of a finished run took, seconds."""
    (path,) = (logdir / "benchmarks").glob(f"{STAGES[stage]}*.tsv")
    with open(path, newline="") as file:
        return float(next(csv.DictReader(file, delimiter="\t"))["s"])


def in_new_process(logdir: Path, stage: str) -> float:
    """Return write_again(logdir, stage) of a process that has not imported tensorboard."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(write_again, logdir, stage).result()


def write_again(logdir: Path, stage: str) -> float:
    """Write the curves of a stage of a finished run, and return the seconds that it took."""
    history, curves = read_history(logdir, stage), Curves()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        curves.set_up(folder, True, {"seed": 1})
        curves.start(stage, "0" * 32, [])
        for count in range(1, len(history) + 1):
            curves.add_rows(history[:count], 1.0)
            if (logdir / stage / f"samples/reconstruction_{count:04d}.png").exists():
                curves.add_samples(logdir / stage / "samples", count)
        curves.add_score(stage, {"score": 1.0}, len(history))
        seconds = time.perf_counter() - start
        if curves.folder is None:
            raise RuntimeError("the curves ended with a warning")
    return seconds


def read_history(logdir: Path, stage: str) -> list[dict]:
    """Return the history of a stage of a finished run, a row per epoch or generation."""
    if stage != "ctrl":
        return [{**ENDINGS, **row} for row in json.loads((logdir / stage / "best.json").read_text())["history"]]
    with open(logdir / "ctrl/history.csv", newline="") as file:
        return [{name: float(text) if text else None for name, text in row.items()} for row in csv.DictReader(file)]


if __name__ == "__main__":
    parser = program.make_parser(__doc__)
    program.add_run_flags(parser)
    program.run_benchmark(parser, main)
