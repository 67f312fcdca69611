#!/usr/bin/env python
"""Figures of C: returns by generation and by environment steps, the step size, episode lengths and the time spent.

Writes <logdir>/report/ctrl_*.png.
"""

import csv
import io
from pathlib import Path

import numpy as np

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.showing import figures
from worldmodels.showing.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY
from worldmodels.storage.checkpoints import load_checkpoint
from worldmodels.storage.files import prepare_folder, read_json
from worldmodels.training.history import COLUMNS


def read_history(path: Path) -> dict[str, np.ndarray]:
    """The columns of history.csv, (G,) float each; NaN where a generation was not validated."""
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


def episode_lengths(history: dict[str, np.ndarray], config: dict) -> np.ndarray:
    """Mean length of the episodes that each generation played, (G,) steps.

    Each candidate plays n_samples episodes, more of them as sample_growth has it; where the mean of the generation
    before was validated, those episodes count in this generation's steps.
    """
    before = np.concatenate([[0.0], history["env_steps"][:-1]])
    growth = config.get("sample_growth", 0)  # not in the checkpoints of older runs
    samples = config["n_samples"] + (before // growth if growth else 0)
    validated = np.concatenate([[False], ~np.isnan(history["validation_mean"][:-1])])
    episodes = config["pop_size"] * samples + validated * config["validation_episodes"]
    return (history["env_steps"] - before) / episodes


def returns(history: dict[str, np.ndarray], best: dict):
    """Return of the candidates and of the validated mean, by generation and by environment steps."""
    figure = figures.new(11, 4.5)
    axes = figure.subplots(1, 2, sharey=True)
    validated = ~np.isnan(history["validation_mean"])
    for ax, key, label in zip(
        axes, ("generation", "env_steps"), ("generation", "environment steps of C's training, million")
    ):
        x = history[key] / (1e6 if key == "env_steps" else 1)
        ax.plot(x, history["return_max"], color=SKY, lw=1.2, label="best candidate")
        ax.plot(x, history["return_mean"], color=BLUE, ls="--", label="mean of the candidates")
        ax.plot(
            x[validated], history["validation_mean"][validated], color=ORANGE, marker="o", ms=5,
            label="validated: averaged mean, fixed tracks",
        )  # fmt: skip
        kept = history["generation"] == best["epoch"]
        ax.plot(x[kept], np.full(kept.sum(), best["reward"]), "*", color=BLACK, ms=13, label="kept")
        ax.set_xlabel(label)
    axes[0].set_ylabel("return of an episode")
    axes[1].legend(loc="lower right")
    figure.suptitle(f"C: best validated return {best['reward']:.0f}, after generation {best['epoch']}")
    return figure


def search(history: dict[str, np.ndarray], lengths: np.ndarray):
    """CMA-ES's step size, how long episodes last, and where the time goes, by generation."""
    figure = figures.new(11, 3.6)
    sigma, length, clock = figure.subplots(1, 3)
    generation = history["generation"]
    sigma.plot(generation, history["sigma"], color=GREEN)
    sigma.set(ylabel="sigma of the search", ylim=(0, None))
    length.plot(generation, lengths, color=PURPLE)
    length.set(ylabel="mean length of an episode, steps", ylim=(0, None))
    minutes = np.cumsum(history["seconds"]) / 60
    clock.plot(generation, minutes, color=BLACK)
    speed = history["env_steps"][-1] / max(minutes[-1] * 60, 1e-9)
    clock.set(ylabel="wall time so far, minutes", ylim=(0, None))
    clock.set_title(f"{speed:,.0f} environment steps/s", fontsize=11)
    for ax in (sigma, length, clock):
        ax.set_xlabel("generation")
    return figure


def main(args) -> None:
    run = run_config_from_args(args)
    folder = f"{run.logdir}/report"
    prepare_folder(folder)
    best = read_json(f"{run.logdir}/ctrl/best.json", ("reward", "epoch"))
    config = load_checkpoint(f"{run.logdir}/ctrl/best.tar", ("config",))["config"]
    history = read_history(Path(run.logdir) / "ctrl" / "history.csv")
    figures.save(returns(history, best), f"{folder}/ctrl_returns.png")
    figures.save(search(history, episode_lengths(history, config)), f"{folder}/ctrl_search.png")
    log.info("ctrl figures: %d generations, %s/ctrl_*.png", len(history["generation"]), folder)


if __name__ == "__main__":
    run_program(make_parser(__doc__), main)
