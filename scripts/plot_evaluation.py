#!/usr/bin/env python
"""Draw the figures of the official test: returns beside published scores, a table, and the paths on the tracks.

Writes <logdir>/report/evaluation_returns.png, evaluation.html and evaluation_tracks.png.
"""

from argparse import Namespace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.score_text import interval_text, score_text
from worldmodels.showing import figures
from worldmodels.showing.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED
from worldmodels.showing.tables import Table, save_tables
from worldmodels.storage.files import read_json
from worldmodels.storage.npz import read_npz

# Environment -> agent -> mean, standard deviation, color. The scores are over 100 tracks of CarRacing-v0.
PUBLISHED = {
    "CarRacing": {
        "Ha & Schmidhuber 2018, full agent": (906, 21, ORANGE),
        "Ha & Schmidhuber 2018, V only": (632, 251, RED),
        "Risi & Stanley 2019, deep GA": (903, 72, GREEN),
        "Tang et al. 2020, attention agent": (914, 15, PURPLE),
    }
}
EPISODES = ("best", "median", "worst")
REPLAY_ARRAYS = tuple(f"{name}_{array}" for name in EPISODES for array in ("path", "track", "rewards"))
TEST_KEYS = (
    "env", "gymnasium_version", "episodes", "mean", "std", "mean_95_interval", "env_steps", "seeds", "returns",
    "lengths",
)  # fmt: skip

Scores = dict[str, tuple[float, float | None, str]]  # agent -> mean, standard deviation, color


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    folder = figures.report_folder(run.logdir)
    test = read_json(f"{run.logdir}/eval.json", TEST_KEYS)
    replays = read_npz(f"{folder}/replays.npz", REPLAY_ARRAYS)
    figures.save_figure(draw_returns(test), folder / "evaluation_returns.png")
    save_tables(folder / "evaluation.html", "Official test", list_tables(test))
    figures.save_figure(draw_tracks(replays), folder / "evaluation_tracks.png")
    log.info("evaluation figures: %d episodes, %s/evaluation*", test["episodes"], folder)


def published_scores(env: str) -> Scores:
    """Return the published scores of this environment. There are none for most environments."""
    return next((scores for name, scores in PUBLISHED.items() if env.startswith(name)), {})


def figure_text(mean: float, std: float | None, digits: int = 0) -> str:
    """Return a score as figures and tables write it."""
    return score_text(mean, std, digits).replace("+-", "±")


def draw_returns(test: dict) -> Figure:
    """Draw the scores of this run and of published agents above the histogram of this run's returns."""
    scores: Scores = {"this run": (test["mean"], test["std"], BLUE), **published_scores(test["env"])}
    figure = figures.new_figure(10, 3.9 + 0.35 * len(scores))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(0.35 * len(scores) + 0.2, 3))
    draw_scores(above, scores)
    draw_histogram(below, test["returns"], scores, above.get_xlim())
    figures.draw_legend(figure, below, columns=2)
    figure.suptitle(f"Official test: {figure_text(test['mean'], test['std'])} over {test['episodes']} episodes")
    return figure


def draw_scores(ax: Axes, scores: Scores) -> None:
    """Draw a mean with its standard deviation per line, the agent's name on the left and the numbers on the right."""
    lines = [-line for line in range(len(scores))]
    for line, (mean, std, color) in zip(lines, scores.values()):
        ax.errorbar(mean, line, xerr=std, color=color, marker="o", capsize=4, lw=2)
    ax.set_yticks(lines, list(scores))
    ax.set_ylim(0.6 - len(scores), 0.6)
    ax.grid(axis="y", visible=False)
    right = ax.secondary_yaxis("right")
    right.set_yticks(lines, [figure_text(mean, std) for mean, std, _ in scores.values()])
    right.spines[:].set_visible(False)
    right.tick_params(length=0)


def draw_histogram(ax: Axes, returns: list[float], scores: Scores, limits: tuple[float, float]) -> None:
    """Draw the histogram of the returns, their median, and each agent's mean.

    Args:
        ax: the axes to draw on.
        returns: of the episodes.
        scores: the agents' scores.
        limits: the least and the greatest return that the bins have to cover.
    """
    low, high = limits
    ax.hist(returns, bins=np.linspace(min(low, *returns), max(high, *returns), 61), color=BLUE)
    label = "means, in the colors above"
    for mean, _, color in scores.values():
        ax.axvline(mean, color=color, ls="--", lw=1, label=label)
        label = None  # One line explains all.
    ax.axvline(np.median(returns), color=BLACK, ls=":", label=f"median {np.median(returns):.0f}")
    ax.set(xlabel="return of an episode", ylabel="episodes")
    ax.yaxis.get_major_locator().set_params(integer=True)


def list_tables(test: dict) -> dict[str, Table]:
    """Return two tables: the score beside published scores, and the episodes."""
    quartiles = np.percentile(test["returns"], [0, 25, 50, 75, 100])
    score = [
        ["environment", f"{test['env']} (gymnasium {test['gymnasium_version']})"],
        ["episodes", test["episodes"]],
        ["mean ± standard deviation", figure_text(test["mean"], test["std"], digits=1)],
        ["95 % interval of the mean (Student's t)", interval_text(test["mean_95_interval"])],
        ["lowest, quartiles, highest", ", ".join(f"{value:.0f}" for value in quartiles)],
        ["environment steps to train", f"{test['env_steps']['total']:,}"],
    ]
    for agent, (mean, std, _) in published_scores(test["env"]).items():
        score.append([f"published: {agent}", figure_text(mean, std)])
    episodes = sorted(zip(test["seeds"], test["returns"], test["lengths"]), key=lambda episode: -episode[1])
    return {
        "Official test": (("", "value"), score),
        "Episodes, best first": (
            ("seed", "return", "length, steps"),
            [[seed, f"{value:.1f}", length] for seed, value, length in episodes],
        ),
    }


def draw_tracks(replays: dict[str, np.ndarray]) -> Figure:
    """Draw the best, the median and the worst episode from above.

    An environment without a track gets a line of text instead.
    """
    figure = figures.new_figure(13, 4.8)
    axes = figure.subplots(1, len(EPISODES), sharex=True, sharey=True)
    top_speed = max(replays[f"{name}_path"][:, 2].max(initial=1.0) for name in EPISODES)
    lines = None
    for ax, name in zip(axes, EPISODES):
        path, track, rewards = (replays[f"{name}_{array}"] for array in ("path", "track", "rewards"))
        ax.set_title(f"{name}: {rewards.sum():.0f} in {len(rewards)} steps")
        if len(path):
            lines = draw_path(ax, path, track, top_speed)
        else:
            ax.set_axis_off()
            ax.text(0.5, 0.5, "this environment has no track", ha="center", va="center", transform=ax.transAxes)
    if lines is not None:
        axes[0].set_ylabel("y, m")
        figures.draw_legend(figure, axes[0], columns=3)
        figure.colorbar(lines, ax=axes, label="speed of the car, m/s", shrink=0.85)
    return figure


def draw_path(ax: Axes, path: np.ndarray, track: np.ndarray, top_speed: float) -> LineCollection:
    """Draw the road and, colored by speed, the car's path.

    Args:
        ax: the axes to draw on.
        path: (T,3), the car's x and y, m, and its speed, m/s.
        track: (N,4), x and y of the road's left and of its right border, m.
        top_speed: the speed of the last color, m/s.

    Returns:
        The path's lines, for a color bar.
    """
    ahead = np.roll(track, -1, axis=0)
    tiles = np.stack([track[:, :2], track[:, 2:], ahead[:, 2:], ahead[:, :2]], axis=1)
    ax.add_collection(PolyCollection(tiles, color="0.82", lw=0.5, label="road", zorder=1))
    segments = np.stack([path[:-1, :2], path[1:, :2]], axis=1)
    lines = LineCollection(segments, cmap="viridis", lw=2, zorder=2, array=path[1:, 2], clim=(0, top_speed))
    ax.add_collection(lines)
    ax.plot(*path[0, :2], "o", color=BLACK, ms=7, label="start", zorder=3)
    ax.plot(*path[-1, :2], "X", color=RED, ms=9, label="end", zorder=3)
    ax.set(aspect="equal", xlabel="x, m")
    return lines


if __name__ == "__main__":
    run_program(make_parser(__doc__), main)
