#!/usr/bin/env python
"""Compare the official tests of several runs: the score of each run, and the mean over the runs with its spread.

The spread is the standard deviation between the runs and the 95 % interval of their mean (Student's t). Both are null
for a single run.
"""

from argparse import Namespace

from worldmodels.playing.scores import summarize_returns
from worldmodels.runtime.identity import product_origin
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_program
from worldmodels.runtime.score_text import interval_text, score_text
from worldmodels.storage.files import read_json, write_json

KEYS = ("mean", "std", "episodes", "env_steps")


def main(args: Namespace) -> None:
    tests = {path: read_json(path, KEYS) for path in args.tests}
    runs = {path: {key: test[key] for key in KEYS} for path, test in tests.items()}
    for path, test in runs.items():
        log.info("%s: %s over %d tracks", path, score_text(test["mean"], test["std"]), test["episodes"])
    result = summarize_returns([test["mean"] for test in runs.values()])
    write_json(args.output, {**result, "runs": runs, **product_origin(args, args.tests)})
    score = score_text(result["mean"], result["std"])
    if result["std"] is None:
        log.info("1 run: mean score %s; a spread needs at least two runs", score)
    else:
        interval = interval_text(result["mean_95_interval"])
        log.info("%d runs: mean score %s between runs (95 %% interval of the mean %s)", len(runs), score, interval)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--output", required=True, help="the file to write, JSON")
    parser.add_argument("tests", nargs="+", help="eval.json of each run")
    run_program(parser, main)
