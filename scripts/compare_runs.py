#!/usr/bin/env python
"""Compare the official tests of several runs: each one's score, and the mean and standard deviation over the runs."""

import statistics

from worldmodels import checkpoint, cli
from worldmodels.cli import log


def main(args) -> None:
    scores = {}
    for path in args.tests:
        test = checkpoint.read_json(path, ("mean", "std", "episodes", "env_steps"))
        scores[path] = {key: test[key] for key in ("mean", "std", "episodes", "env_steps")}
        log.info("%s: %.1f +- %.1f over %d tracks", path, test["mean"], test["std"], test["episodes"])
    means = [score["mean"] for score in scores.values()]
    spread = statistics.stdev(means) if len(means) > 1 else 0.0
    checkpoint.write_json(
        args.output, {"mean": statistics.fmean(means), "std": spread, "runs": scores, **cli.origin(args, args.tests)}
    )
    log.info(
        "%d runs: mean score %.1f, standard deviation between runs %.1f", len(means), statistics.fmean(means), spread
    )


if __name__ == "__main__":
    made = cli.parser(__doc__)
    made.add_argument("--output", required=True, help="the file to write, JSON")
    made.add_argument("tests", nargs="+", help="eval.json of each run")
    cli.main(made, main)
