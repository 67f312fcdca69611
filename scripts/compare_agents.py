#!/usr/bin/env python
"""Compare the agents of an ablation: the official test of the full agent beside those of its variants.

Writes <output>/ablation.json, a table ablation.md and a figure ablation.png: the mean returns with their 95 %
intervals.
"""

from pathlib import Path

from worldmodels.runtime.identity import product_origin
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_program
from worldmodels.runtime.score_text import interval_text, score_text
from worldmodels.storage.files import read_json, write_atomically, write_json

NAMES = {
    "v_only": "V only",
    "v_hidden": "V, controller with a hidden layer",
    "random_m": "V and M, M untrained",
    "full": "V and M",
}
KEYS = ("mean", "std", "mean_95_interval", "episodes", "env_steps")


def main(args) -> None:
    paths = {Path(path).parent.name: path for path in args.variants} | {"full": args.full}
    tests = {name: read_json(paths[name], KEYS) for name in sorted(paths, key=order)}
    agents = {name: {key: test[key] for key in KEYS} for name, test in tests.items()}
    env = tests["full"].get("env")
    write_json(f"{args.output}/ablation.json", {"env": env, "agents": agents, **product_origin(args, paths.values())})
    text = table(agents)
    write_atomically(f"{args.output}/ablation.md", lambda file: file.write(text.encode()))
    write_atomically(f"{args.output}/ablation.png", lambda file: draw(agents, env, file))
    for line in text.splitlines():
        log.info("%s", line)


def order(name: str) -> tuple:
    """The agents as in NAMES, then others by their names, the full one last."""
    return name == "full", list(NAMES).index(name) if name in NAMES else len(NAMES), name


def table(agents: dict[str, dict]) -> str:
    """The agents as a Markdown table."""
    rows = ["| agent | return | 95 % interval of the mean | episodes | environment steps |", "|---|---|---|---|---|"]
    for name, test in agents.items():
        score, interval = score_text(test["mean"], test["std"]), interval_text(test["mean_95_interval"])
        rows.append(
            f"| {NAMES.get(name, name)} | {score} | {interval} | {test['episodes']} | {test['env_steps']['total']} |"
        )
    return "\n".join(rows) + "\n"


def draw(agents: dict[str, dict], env: str, file) -> None:
    """The mean returns as bars, with their 95 % intervals, as a PNG."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 2.6), layout="constrained")
    labels = [NAMES.get(name, name) for name in agents]
    means = [test["mean"] for test in agents.values()]
    intervals = [test["mean_95_interval"] or [float("nan")] * 2 for test in agents.values()]  # after one episode no bar
    halves = [(high - low) / 2 for low, high in intervals]
    axes.barh(labels, means, xerr=halves, color="tab:blue", capsize=4)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"mean return in {env}, with the 95 % interval of the mean")
    figure.savefig(file, format="png", dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    made = make_parser(__doc__)
    made.add_argument("--output", required=True, help="the folder to write to")
    made.add_argument("--full", required=True, help="eval.json of the full agent")
    made.add_argument("--variants", nargs="+", default=[], help="eval.json of each variant, in a folder of its name")
    run_program(made, main)
