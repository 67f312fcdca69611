#!/usr/bin/env python
"""Compare the agents of an ablation: the official tests of the full agent and of its variants.

Writes to <output>: ablation.json, the table ablation.md and the figure ablation.png, the mean returns with their 95 %
intervals.
"""

from argparse import Namespace
from pathlib import Path

from matplotlib.figure import Figure

from worldmodels.runtime.identity import product_origin
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_program
from worldmodels.runtime.score_text import interval_text, score_text
from worldmodels.showing import figures
from worldmodels.storage.files import read_json, write_atomically, write_json

NAMES = {
    "v_only": "V only",
    "v_hidden": "V, controller with a hidden layer",
    "random_m": "V and M, M untrained",
    "full": "V and M",
}
KEYS = ("mean", "std", "mean_95_interval", "episodes", "env_steps")


def main(args: Namespace) -> None:
    paths = {Path(path).parent.name: path for path in args.variants} | {"full": args.full}
    tests = {name: read_json(paths[name], KEYS) for name in sorted(paths, key=rank)}
    agents = {name: {key: test[key] for key in KEYS} for name, test in tests.items()}
    env = tests["full"].get("env")
    table = format_table(agents)
    write_json(f"{args.output}/ablation.json", {"env": env, "agents": agents, **product_origin(args, paths.values())})
    write_atomically(f"{args.output}/ablation.md", lambda file: file.write(table.encode()))
    figures.save_figure(draw_returns(agents, env), f"{args.output}/ablation.png")
    for line in table.splitlines():
        log.info("%s", line)


def rank(name: str) -> tuple:
    """Return the sort key of an agent: agents of NAMES in their order, then the rest by name, the full agent last."""
    return name == "full", list(NAMES).index(name) if name in NAMES else len(NAMES), name


def format_table(agents: dict[str, dict]) -> str:
    """Return the agents' tests as a Markdown table."""
    lines = ["| agent | return | 95 % interval of the mean | episodes | environment steps |", "|---|---|---|---|---|"]
    for name, test in agents.items():
        score, interval = score_text(test["mean"], test["std"]), interval_text(test["mean_95_interval"])
        cells = [NAMES.get(name, name), score, interval, test["episodes"], test["env_steps"]["total"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def draw_returns(agents: dict[str, dict], env: str) -> Figure:
    """Draw the mean returns as bars with their 95 % intervals."""
    figure = figures.new_figure(8, 1.2 + 0.45 * len(agents))
    axes = figure.subplots()
    labels = [NAMES.get(name, name) for name in agents]
    means = [test["mean"] for test in agents.values()]
    intervals = [test["mean_95_interval"] or [float("nan")] * 2 for test in agents.values()]
    half_widths = [(high - low) / 2 for low, high in intervals]  # NaN after one episode: no interval is drawn
    axes.barh(labels, means, xerr=half_widths, color=figures.BLUE, capsize=4)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color=figures.BLACK, linewidth=0.8)
    axes.set_xlabel(f"mean return in {env},\n95 % interval of the mean")
    return figure


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--output", required=True, help="the folder to write to")
    parser.add_argument("--full", required=True, help="eval.json of the full agent")
    parser.add_argument("--variants", nargs="+", default=[], help="eval.json of each variant, in a folder of its name")
    run_program(parser, main)
