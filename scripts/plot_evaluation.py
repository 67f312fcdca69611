#!/usr/bin/env python
"""Figures of the official test: its returns beside published scores, a table, and where the car drove.

Writes <logdir>/report/evaluation_returns.png, evaluation.html and evaluation_tracks.png.
"""

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection

from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.score_text import interval_text, score_text
from worldmodels.showing import figures
from worldmodels.showing.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED
from worldmodels.showing.tables import save_tables
from worldmodels.storage.files import prepare_folder, read_json
from worldmodels.storage.npz import read_npz

# Means and standard deviations over 100 tracks of CarRacing-v0.
PUBLISHED = {
    "CarRacing": {
        "Ha & Schmidhuber 2018, full agent": (906, 21, ORANGE),
        "Ha & Schmidhuber 2018, V only": (632, 251, RED),
        "Risi & Stanley 2019, deep GA": (903, 72, GREEN),
        "Tang et al. 2020, attention agent": (914, 15, PURPLE),
    }
}
EPISODES = ("best", "median", "worst")
ARRAYS = [f"{name}_{part}" for name in EPISODES for part in ("path", "track", "rewards")]


def published(env: str) -> dict[str, tuple[float, float, str]]:
    """Name -> mean, standard deviation and colour of the scores known for this environment."""
    return next((scores for name, scores in PUBLISHED.items() if env.startswith(name)), {})


def shown(mean: float, std: float | None, digits: int = 0) -> str:
    """Return the score as a figure writes it."""
    return score_text(mean, std, digits).replace("+-", "±")


def returns(test: dict):
    """Histogram of the episodes' returns; above it the means and standard deviations, ours and published ones."""
    scores = {"this run": (test["mean"], test["std"], BLUE), **published(test["env"])}
    figure = figures.new(10, 3.6 + 0.35 * len(scores))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(0.35 * len(scores) + 0.2, 3))
    for line, (mean, std, color) in enumerate(scores.values()):
        above.errorbar(mean, -line, xerr=std, color=color, marker="o", capsize=4, lw=2)
    above.set_yticks([-line for line in range(len(scores))], list(scores))
    above.set_ylim(0.6 - len(scores), 0.6)
    above.grid(axis="y", visible=False)
    labels = [shown(mean, std) for mean, std, _ in scores.values()]
    right = above.secondary_yaxis("right")
    right.set_yticks([-line for line in range(len(scores))], labels)
    right.spines[:].set_visible(False)
    right.tick_params(length=0)
    low, high = above.get_xlim()
    bins = np.linspace(min(low, *test["returns"]), max(high, *test["returns"]), 61)
    below.hist(test["returns"], bins=bins, color=BLUE)
    for mean, _, color in scores.values():
        below.axvline(mean, color=color, ls="--", lw=1)
    below.axvline(np.median(test["returns"]), color=BLACK, ls=":", label=f"median {np.median(test['returns']):.0f}")
    below.set(xlabel="return of an episode", ylabel="episodes")
    below.yaxis.get_major_locator().set_params(integer=True)
    below.legend(loc="upper left")
    figure.suptitle(f"Official test: {shown(test['mean'], test['std'])} over {test['episodes']} episodes")
    return figure


def tables(test: dict) -> dict:
    """The score beside published ones, and every episode."""
    quartiles = np.percentile(test["returns"], [0, 25, 50, 75, 100])
    score = [
        ["environment", f"{test['env']} (gymnasium {test['gymnasium_version']})"],
        ["episodes", test["episodes"]],
        ["mean ± standard deviation", shown(test["mean"], test["std"], digits=1)],
        ["95 % interval of the mean (Student's t)", interval_text(test["mean_95_interval"])],
        ["lowest, quartiles, highest", ", ".join(f"{value:.0f}" for value in quartiles)],
        ["environment steps to train", f"{test['env_steps']['total']:,}"],
        *([f"published: {name}", shown(mean, std)] for name, (mean, std, _) in published(test["env"]).items()),
    ]
    episodes = zip(test["seeds"], test["returns"], test["lengths"])
    rows = [[seed, f"{value:.1f}", length] for seed, value, length in sorted(episodes, key=lambda e: -e[1])]
    return {
        "Official test": (("", "value"), score),
        "Episodes, best first": (("seed", "return", "length, steps"), rows),
    }


def tracks(replays: dict[str, np.ndarray]):
    """The best, median and worst episode from above; where there is no track, that is said instead."""
    figure = figures.new(13, 4.8)
    axes = figure.subplots(1, len(EPISODES), sharex=True, sharey=True)
    fastest = max(replays[f"{name}_path"][:, 2].max(initial=1.0) for name in EPISODES)
    lines = None
    for ax, name in zip(axes, EPISODES):
        path, track = replays[f"{name}_path"], replays[f"{name}_track"]
        ax.set_title(f"{name}: {replays[f'{name}_rewards'].sum():.0f} in {len(replays[f'{name}_rewards'])} steps")
        if not len(path):
            ax.set_axis_off()
            ax.text(0.5, 0.5, "this environment has no track", ha="center", va="center", transform=ax.transAxes)
            continue
        ahead = np.roll(track, -1, axis=0)
        tiles = np.stack([track[:, :2], track[:, 2:], ahead[:, 2:], ahead[:, :2]], axis=1)
        ax.add_collection(PolyCollection(tiles, color="0.82", lw=0.5, label="road", zorder=1))
        pieces = np.stack([path[:-1, :2], path[1:, :2]], axis=1)
        lines = LineCollection(pieces, cmap="viridis", lw=2, zorder=2, array=path[1:, 2], clim=(0, fastest))
        ax.add_collection(lines)
        ax.plot(*path[0, :2], "o", color=BLACK, ms=7, label="start", zorder=3)
        ax.plot(*path[-1, :2], "X", color=RED, ms=9, label="end", zorder=3)
        ax.set(aspect="equal", xlabel="x, m")
    if lines is not None:
        axes[0].set_ylabel("y, m")
        axes[0].legend(fontsize=9, loc="best")
        figure.colorbar(lines, ax=axes, label="speed of the car, m/s", shrink=0.85)
    return figure


def main(args) -> None:
    run = run_config_from_args(args)
    folder = f"{run.logdir}/report"
    prepare_folder(folder)
    keys = ("env", "gymnasium_version", "episodes", "mean", "std", "mean_95_interval", "env_steps")
    test = read_json(f"{run.logdir}/eval.json", (*keys, "seeds", "returns", "lengths"))
    replays = read_npz(f"{folder}/replays.npz", tuple(ARRAYS))
    figures.save(returns(test), f"{folder}/evaluation_returns.png")
    save_tables(f"{folder}/evaluation.html", "Official test", tables(test))
    figures.save(tracks(replays), f"{folder}/evaluation_tracks.png")
    log.info("evaluation figures: %d episodes, %s/evaluation*", test["episodes"], folder)


if __name__ == "__main__":
    run_program(make_parser(__doc__), main)
