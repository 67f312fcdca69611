#!/usr/bin/env python
"""Draw the figures of C: returns by generation and by environment steps, the step size, episode lengths and the time.

Writes <logdir>/report/ctrl_*.png.
"""

import csv
import io
from argparse import Namespace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.showing import figures
from worldmodels.showing.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY
from worldmodels.storage.checkpoints import load_checkpoint
from worldmodels.storage.files import read_json
from worldmodels.training.history import COLUMNS

History = dict[str, np.ndarray]  # column -> (G,), a value per generation


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    folder = figures.report_folder(run.logdir)
    best = read_json(f"{run.logdir}/ctrl/best.json", ("reward", "epoch"))
    config = load_checkpoint(f"{run.logdir}/ctrl/best.tar", ("config",))["config"]
    history = read_history(Path(run.logdir) / "ctrl" / "history.csv")
    figures.save_figure(draw_returns(history, best), folder / "ctrl_returns.png")
    figures.save_figure(draw_search(history, episode_lengths(history, config)), folder / "ctrl_search.png")
    log.info("ctrl figures: %d generations, %s/ctrl_*.png", len(history["generation"]), folder)


def read_history(path: Path) -> History:
    """Return the columns of history.csv, (G,) float each. A generation without a validation has NaN there.

    Raises:
        UserError: The file is missing, lacks a column, or has no rows.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        history = {key: np.array([float(row[key] or "nan") for row in rows]) for key in COLUMNS}
    except FileNotFoundError:
        raise UserError(f"{path}: expected the history of C's training, found no file") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: expected the columns {', '.join(COLUMNS)}, found others ({error})") from None
    if not rows:
        raise UserError(f"{path}: expected at least one generation, found none")
    return history


def episode_lengths(history: History, config: dict) -> np.ndarray:
    """Return the mean length of the episodes of each generation, (G,) steps.

    Each candidate plays n_samples episodes, and one more per sample_growth steps of training. If the mean of a
    generation was validated, the steps of its validation count in the next generation.
    """
    before = np.concatenate([[0.0], history["env_steps"][:-1]])
    growth = config.get("sample_growth", 0)  # Checkpoints of older runs lack it.
    samples = config["n_samples"] + (before // growth if growth else 0)
    validated_before = np.concatenate([[False], ~np.isnan(history["validation_mean"][:-1])])
    episodes = config["pop_size"] * samples + validated_before * config["validation_episodes"]
    return (history["env_steps"] - before) / episodes


def draw_returns(history: History, best: dict) -> Figure:
    """Draw the returns of the candidates and of the validated mean, by generation and by environment steps."""
    figure = figures.new_figure(11, 4.8)
    by_generation, by_steps = figure.subplots(1, 2, sharey=True)
    draw_returns_by(by_generation, history["generation"], history, best)
    by_generation.set(xlabel="generation", ylabel="return of an episode")
    draw_returns_by(by_steps, history["env_steps"] / 1e6, history, best)
    by_steps.set_xlabel("steps of C's training, million")
    figures.draw_legend(figure, by_steps, columns=4)
    figure.suptitle(f"C: best validated return {best['reward']:.0f}, after generation {best['epoch']}")
    return figure


def draw_returns_by(ax: Axes, x: np.ndarray, history: History, best: dict) -> None:
    """Draw the returns over x (G,). A star marks the mean that was kept."""
    ax.plot(x, history["return_max"], color=SKY, lw=1.2, label="best candidate")
    ax.plot(x, history["return_mean"], color=BLUE, ls="--", label="mean of the candidates")
    validated = ~np.isnan(history["validation_mean"])
    ax.plot(
        x[validated], history["validation_mean"][validated], color=ORANGE, marker="o", ms=5,
        label="mean of the search, validated",
    )  # fmt: skip
    kept = history["generation"] == best["epoch"]
    ax.plot(x[kept], np.full(kept.sum(), best["reward"]), "*", color=BLACK, ms=13, label="kept")


def draw_search(history: History, lengths: np.ndarray) -> Figure:
    """Draw the step size, the episodes' mean length (G,) and the wall time, by generation."""
    figure = figures.new_figure(11, 3.6)
    sigma, length, time = figure.subplots(1, 3)
    generation = history["generation"]
    sigma.plot(generation, history["sigma"], color=GREEN)
    sigma.set(ylabel="sigma of the search", ylim=(0, None))
    length.plot(generation, lengths, color=PURPLE)
    length.set(ylabel="mean length of an episode, steps", ylim=(0, None))
    minutes = np.cumsum(history["seconds"]) / 60
    time.plot(generation, minutes, color=BLACK)
    time.set(ylabel="wall time so far, minutes", ylim=(0, None))
    speed = history["env_steps"][-1] / max(minutes[-1] * 60, 1e-9)
    time.set_title(f"{speed:,.0f} steps/s", fontsize=11)
    for ax in (sigma, length, time):
        ax.set_xlabel("generation")
    return figure


if __name__ == "__main__":
    run_program(make_parser(__doc__), main)
