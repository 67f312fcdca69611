#!/usr/bin/env python
"""Compare controllers that learnt in dreams of several temperatures: their scores in the dream and in the environment.

Writes to <output>: temperatures.json, the table temperatures.md and the figure temperatures.png. The score in the dream
is the mean return of C's validation. The score in the environment is the official test. The mean return of the rollouts
stands beside them. For VizDoom's Take Cover the paper's scores do, too.
"""

from argparse import Namespace
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldmodels.playing.scores import summarize_returns
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.identity import product_origin
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_program
from worldmodels.runtime.score_text import score_text
from worldmodels.showing import figures
from worldmodels.showing.figures import BLACK, BLUE, ORANGE
from worldmodels.storage.files import read_json, write_atomically, write_json

# Environment -> temperature -> mean and standard deviation in the dream and in the environment (paper, section 4.4).
PUBLISHED = {
    "VizdoomTakeCover-v1": {
        0.1: {"dream": (2086, 140), "environment": (193, 58)},
        0.5: {"dream": (2060, 277), "environment": (196, 50)},
        1.0: {"dream": (1145, 690), "environment": (868, 511)},
        1.15: {"dream": (918, 546), "environment": (1092, 556)},
        1.3: {"dream": (732, 269), "environment": (753, 139)},
    }
}
PUBLISHED_RANDOM = {"VizdoomTakeCover-v1": (210, 108)}  # the score of a random policy (paper, section 4.4)
TEST_KEYS = ("env", "mean", "std", "mean_95_interval", "episodes", "env_steps")
COLORS = {"dream": ORANGE, "environment": BLUE}


def main(args: Namespace) -> None:
    check_flags(args)
    tests = [read_json(path, TEST_KEYS) for path in args.tests]
    env = tests[0]["env"]
    rows = [
        {
            "temperature": temperature,
            "dream": dream_score(path),
            "environment": {key: test[key] for key in TEST_KEYS[1:]},
            "paper": PUBLISHED.get(env, {}).get(temperature),
        }
        for temperature, path, test in zip(args.temperatures, args.controllers, tests)
    ]
    rollouts = rollout_score(args.rollouts)
    table = format_table(rows, rollouts, env)
    result = {"env": env, "temperatures": rows, "rollouts": rollouts, "paper_random": PUBLISHED_RANDOM.get(env)}
    # In an origin all controllers have the same name. A test changes with its controller.
    origin = product_origin(args, [*args.tests, *args.rollouts])
    write_json(f"{args.output}/temperatures.json", {**result, **origin})
    write_atomically(f"{args.output}/temperatures.md", lambda file: file.write(table.encode()))
    figures.save_figure(draw_scores(rows, rollouts, env), f"{args.output}/temperatures.png")
    for line in table.splitlines():
        log.info("%s", line)


def check_flags(args: Namespace) -> None:
    """Check that there is a controller and a test for each temperature.

    Raises:
        UserError: the lists have different lengths.
    """
    numbers = [len(args.temperatures), len(args.controllers), len(args.tests)]
    if len(set(numbers)) > 1:
        found = "{} temperatures, {} controllers and {} tests".format(*numbers)
        raise UserError(f"--temperatures: expected a controller and a test for each, found {found}")


def dream_score(path: str) -> dict:
    """Return the mean return of C's validation in dreams, and its standard deviation where the summary has one.

    Args:
        path: best.json of the controller.

    Raises:
        UserError: the file is missing or damaged, or its C did not learn in dreams.
    """
    summary = read_json(path, ("reward", "dream_steps"))
    return {"mean": summary["reward"], "std": summary.get("reward_std"), "steps": summary["dream_steps"]}


def rollout_score(paths: list[str]) -> dict:
    """Return the mean return of the rollouts, its standard deviation, and the number of the episodes.

    Args:
        paths: summaries of the shards.
    """
    episodes = [episode for path in paths for episode in read_json(path, ("episodes",))["episodes"].values()]
    score = summarize_returns([episode["return"] for episode in episodes])
    return {"mean": score["mean"], "std": score["std"], "episodes": len(episodes)}


def format_table(rows: list[dict], rollouts: dict, env: str) -> str:
    """Return the scores as a Markdown table. The paper's columns are there only if the paper has this environment."""
    names = ["temperature", "score in the dream", f"score in {env}", "episodes"]
    cells = [
        [f"{row['temperature']:g}", cell(row["dream"]), cell(row["environment"]), row["environment"]["episodes"]]
        for row in rows
    ]
    cells.append(["rollouts", "-", cell(rollouts), rollouts["episodes"]])
    if env in PUBLISHED:
        names += ["paper: in the dream", "paper: in the environment"]
        for line, row in zip(cells, rows):
            paper = row["paper"] or {}
            line += [pair_text(paper.get("dream")), pair_text(paper.get("environment"))]
        cells[-1] += ["-", f"{pair_text(PUBLISHED_RANDOM[env])} (random policy)"]
    lines = [names, ["---"] * len(names), *cells]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def cell(score: dict) -> str:
    """Return a score as text: the mean and, where there is one, the standard deviation."""
    return score_text(score["mean"], score["std"])


def pair_text(score: Sequence[float] | None) -> str:
    """Return a published mean and standard deviation as text, or "-"."""
    return score_text(*score, digits=0) if score else "-"


def draw_scores(rows: list[dict], rollouts: dict, env: str) -> Figure:
    """Draw the scores in the dream and in the environment against the temperature.

    Error bars are standard deviations between episodes. The paper's points are faint. The rollouts are a line.
    """
    figure = figures.new_figure(8, 5.2)
    ax = figure.subplots()
    places = {"dream": "in the dream (C's validation)", "environment": f"in {env}"}
    for place, label in places.items():
        scores = [(row["temperature"], row[place]["mean"], row[place]["std"]) for row in rows]
        draw_points(ax, scores, COLORS[place], label)
        published = [(row["temperature"], *row["paper"][place]) for row in rows if row["paper"]]
        if published:
            draw_points(ax, published, COLORS[place], f"paper, {place}", alpha=0.3, ls=":")
    ax.axhline(rollouts["mean"], color=BLACK, ls="--", lw=1.2, label=f"rollouts, mean of {rollouts['episodes']}")
    ax.set(xlabel="temperature of the dream in which C learns", ylabel="return of an episode, mean ± std")
    figures.draw_legend(figure, ax, columns=2)
    return figure


def draw_points(ax: Axes, scores: list[tuple], color: str, label: str, alpha: float = 1.0, ls: str = "-") -> None:
    """Draw scores against the temperature.

    Args:
        ax: the axes to draw on.
        scores: temperature, mean and standard deviation of each. The standard deviation may be None.
        color, label, alpha, ls: of the points and the line through them.
    """
    temperatures, means, stds = zip(*scores)
    spreads = [float("nan") if std is None else std for std in stds]
    ax.errorbar(temperatures, means, yerr=spreads, color=color, label=label, alpha=alpha, ls=ls, marker="o", capsize=4)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--output", required=True, help="the folder to write to")
    parser.add_argument(
        "--temperatures", nargs="+", type=float, required=True, help="of the dreams in which the controllers learnt"
    )
    parser.add_argument("--controllers", nargs="+", required=True, help="best.json of the C of each temperature")
    parser.add_argument("--tests", nargs="+", required=True, help="eval.json of the C of each temperature")
    parser.add_argument("--rollouts", nargs="+", required=True, help="summaries of the rollouts' shards")
    run_program(parser, main)
