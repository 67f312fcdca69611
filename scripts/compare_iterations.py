#!/usr/bin/env python
"""Compare the official tests of a chain of iterations (paper, section 5).

Writes to <output>: iterations.json, the table iterations.md and the figure iterations.png, the mean returns with their
95 % intervals. The environment steps of an iteration include the steps of all iterations before it.
"""

from argparse import Namespace

from matplotlib.figure import Figure

from worldmodels.runtime.identity import product_origin
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_program
from worldmodels.runtime.score_text import interval_text, score_text
from worldmodels.showing import figures
from worldmodels.storage.files import read_json, write_atomically, write_json

KEYS = ("mean", "std", "mean_95_interval", "episodes", "env_steps")


def main(args: Namespace) -> None:
    tests = [read_json(path, (*KEYS, "env")) for path in args.tests]
    iterations = [{key: test[key] for key in KEYS} for test in tests]
    table = format_table(iterations)
    content = {"env": tests[0]["env"], "iterations": iterations, **product_origin(args, args.tests)}
    write_json(f"{args.output}/iterations.json", content)
    write_atomically(f"{args.output}/iterations.md", lambda file: file.write(table.encode()))
    figures.save_figure(draw_scores(iterations, tests[0]["env"]), f"{args.output}/iterations.png")
    for line in table.splitlines():
        log.info("%s", line)


def format_table(iterations: list[dict]) -> str:
    """Return the iterations' tests as a Markdown table."""
    lines = [
        "| iteration | return | 95 % interval of the mean | episodes | environment steps so far |",
        "|---|---|---|---|---|",
    ]
    for number, test in enumerate(iterations):
        score, interval = score_text(test["mean"], test["std"]), interval_text(test["mean_95_interval"])
        lines.append(f"| {number} | {score} | {interval} | {test['episodes']} | {test['env_steps']['total']:,} |")
    return "\n".join(lines) + "\n"


def draw_scores(iterations: list[dict], env: str) -> Figure:
    """Draw the mean returns by iteration, with their 95 % intervals."""
    figure = figures.new_figure(6, 3.2)
    axes = figure.subplots()
    means = [test["mean"] for test in iterations]
    intervals = [test["mean_95_interval"] or [float("nan")] * 2 for test in iterations]
    half_widths = [(high - low) / 2 for low, high in intervals]  # NaN after one episode: no interval is drawn
    axes.errorbar(range(len(means)), means, half_widths, color=figures.BLUE, marker="o", capsize=4)
    axes.set(xlabel="iteration", ylabel=f"mean return in\n{env},\n95 % interval of the mean")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--output", required=True, help="the folder to write to")
    parser.add_argument("tests", nargs="+", help="eval.json of each iteration, in their order")
    run_program(parser, main)
