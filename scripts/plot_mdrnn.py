#!/usr/bin/env python
"""Figures of M: learning curves, a held-out episode dreamt on, predicted rewards, and how far ahead M sees.

Writes <logdir>/report/mdrnn_*.png.
"""

from dataclasses import dataclass

import numpy as np
import torch

from worldmodels.data.episodes import read_rollout
from worldmodels.envs import seeding
from worldmodels.models.decoding import decode
from worldmodels.models.load_mdrnn import load_mdrnn
from worldmodels.models.load_vae import load_vae
from worldmodels.models.mdrnn import MDRNN, to_cell
from worldmodels.models.vae import VAE
from worldmodels.playing.dreams import dream, hidden_after, sample_latent
from worldmodels.playing.likelihood import cut_windows, draw_latents, horizon_nll, trivial_nll
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.showing import figures
from worldmodels.showing.figures import BLACK, BLUE, GREEN, ORANGE, RED
from worldmodels.storage.checkpoints import check_models
from worldmodels.storage.files import prepare_folder, read_json

WARM_UP, HORIZON = 100, 100  # steps that M sees before it is asked, and steps ahead that it is asked about
STRIDE = 25  # steps between two starts
SAMPLES = 8  # dreams that a prediction is averaged over
STRETCH = 50  # steps over which predicted and true rewards are averaged
AHEAD = (0, 1, 2, 5, 10, 20, 30, 40, 60, 80, 100)  # steps that the film strip shows


@dataclass
class Episode:
    """A held-out episode with M's view of it, one step ahead.

    frames: (T,H,W,C) uint8. z: (T,n). actions: (T,A). rewards, predicted: (T,). one_step: (T,n), the mean of the most
    likely Gaussian for the latent after each step.
    """

    frames: np.ndarray
    z: torch.Tensor
    actions: torch.Tensor
    rewards: np.ndarray
    predicted: np.ndarray
    one_step: torch.Tensor


@torch.inference_mode()
def read_episode(path: str, vae: VAE, mdrnn: MDRNN, generator: torch.Generator) -> Episode:
    arrays = read_rollout(path)
    actions = torch.from_numpy(arrays["actions"])
    if actions.shape[1] != mdrnn.actions:
        raise UserError(f"{path}: expected actions of size {mdrnn.actions} as M's, found {actions.shape[1]}")
    z = draw_latents(vae, arrays["observations"], generator)
    *mixture, rewards, _ = mdrnn(actions.unsqueeze(1), z.unsqueeze(1))
    one_step = sample_latent(*mixture, temperature=0).squeeze(1)
    return Episode(arrays["observations"], z, actions, arrays["rewards"], rewards.squeeze(1).numpy(), one_step)


def losses(summary: dict, include_reward: bool):
    """The loss by term, and the learning rate, by epoch."""
    history = summary["history"]
    terms = {"gmm": "next latent: NLL, nats", "bce": "terminal: cross-entropy, nats"}
    if include_reward:
        terms["mse"] = "reward: squared error"
    figure = figures.new(3.6 * (len(terms) + 1), 4)
    if not history:
        figure.text(0.5, 0.5, "M has not been trained (mdrnn.num_epochs: 0)", ha="center", va="center")
        return figure
    *axes, rate = figure.subplots(1, len(terms) + 1)
    for ax, (term, label) in zip(axes, terms.items()):
        figures.curves(ax, history, term, label)
        figures.mark_epoch(ax, summary["epoch"], "kept: epoch")
        if term == "bce":
            ax.set_yscale("log")
        ax.legend()
    figures.learning_rate(rate, history)
    figure.suptitle(f"M: best held-out loss {summary['precision']:.4f} (the sum of the terms per latent dimension)")
    return figure


def strip(vae: VAE, mdrnn: MDRNN, episode: Episode, generator: torch.Generator):
    """The episode from its middle on: true, reconstructed, predicted one step ahead, and dreamt with its actions."""
    start = min(WARM_UP, len(episode.z) // 2)
    shown = [k for k in AHEAD if start + k < len(episode.z)]
    state = hidden_after(mdrnn, episode.actions[:start, None], episode.z[:start, None])
    steps = dream(
        to_cell(mdrnn), episode.z[start : start + 1], state, lambda k, z, h: episode.actions[start + k, None],
        shown[-1], 1.0, generator,
    )  # fmt: skip
    dreamt = torch.cat([episode.z[start : start + 1], *(step.latent for step in steps)])
    rows = {
        "true": episode.frames[[start + k for k in shown]],
        "reconstructed": decode(vae, episode.z[[start + k for k in shown]]),
        "predicted one\nstep ahead": decode(vae, episode.one_step[[start + k - 1 for k in shown]]),
        "dreamt since\nstep 0": decode(vae, dreamt[shown]),
    }
    heading = "A held-out episode: M sees the true frames up to step 0; the dream then gets its actions only"
    return figures.image_rows(rows, ["start", *(f"+{k} steps" for k in shown[1:])], heading=heading)


def explained(true: np.ndarray, predicted: np.ndarray) -> float:
    """The share of the variance that the prediction explains: R squared."""
    return float(1 - np.mean((true - predicted) ** 2) / max(true.var(), 1e-12))


def means(values: np.ndarray) -> np.ndarray:
    """Means over stretches of STRETCH steps; what is left at the end is left out."""
    whole = values[: len(values) // STRETCH * STRETCH]
    return whole.reshape(-1, STRETCH).mean(1)


def rewards(episodes: list[Episode], shown: Episode, include_reward: bool):
    """Predicted and true reward: step by step in one episode, and stretch by stretch in all."""
    figure = figures.new(11, 4)
    line, cloud = figure.subplots(1, 2, width_ratios=(2, 1))
    steps = slice(0, 400)
    line.plot(shown.rewards[steps], color=BLACK, lw=1, label="true")
    line.set(xlabel="step of a held-out episode", ylabel="reward of the step")
    if not include_reward:
        line.legend()
        cloud.set_axis_off()
        cloud.text(0.5, 0.5, "M was trained without\nthe reward\n(mdrnn.include_reward)", ha="center", va="center")
        return figure
    line.plot(shown.predicted[steps], color=ORANGE, lw=1.6, label="predicted by M, one step ahead")
    line.legend()
    true, predicted = (np.concatenate([getattr(e, name) for e in episodes]) for name in ("rewards", "predicted"))
    line.set_title(f"R² {explained(true, predicted):.2f} over {len(true)} single steps", fontsize=11)
    true, predicted = (np.concatenate([means(getattr(e, name)) for e in episodes]) for name in ("rewards", "predicted"))
    cloud.scatter(true, predicted, s=14, alpha=0.5, color=BLUE, lw=0)
    if len(true):
        bounds = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        cloud.plot(bounds, bounds, color=BLACK, ls=":", label="perfect")
        cloud.set_title(f"R² {explained(true, predicted):.2f} over stretches of {STRETCH} steps", fontsize=11)
        cloud.legend()
    cloud.set(xlabel="true reward a step", ylabel="predicted reward a step")
    return figure


def horizons(mdrnn: MDRNN, episodes: list[Episode], generator: torch.Generator):
    """The negative log-likelihood of what comes 1, 2, ... steps later; its first value, and that of the trivial one."""
    longest = max(len(e.z) for e in episodes) - 1
    warm_up = min(WARM_UP, longest // 2)
    windows = cut_windows([(e.z, e.actions) for e in episodes], warm_up, min(HORIZON, longest - warm_up), STRIDE)
    model = horizon_nll(mdrnn, windows, SAMPLES, generator)
    stays, any_z = trivial_nll(windows)
    ahead = np.arange(1, len(model) + 1)
    figure = figures.new(8, 4.5)
    ax = figure.subplots()
    ax.plot(ahead, model, color=BLUE, label=f"M, dreaming ({SAMPLES} dreams each)")
    ax.plot(ahead, stays, color=RED, ls="--", label='"z stays": Gaussian around the last z seen')
    ax.axhline(any_z, color=GREEN, ls="-.", label="one Gaussian for all z, whatever was seen")
    ax.set(xlabel="steps ahead", ylabel="negative log-likelihood of the true z, nats")
    ax.set_title(f"{windows.latents.shape[1]} starts in held-out episodes; lower is better", fontsize=11)
    ax.legend()
    return figure, model[0], stays[0]


def main(args) -> None:
    run = run_config_from_args(args)
    folder = f"{run.logdir}/report"
    prepare_folder(folder)
    summary = read_json(f"{run.logdir}/mdrnn/best.json", ("epoch", "precision", "history"))
    vae, _ = load_vae(f"{run.logdir}/vae/best.tar")
    mdrnn, saved = load_mdrnn(f"{run.logdir}/mdrnn/best.tar")
    check_models(f"{run.logdir}/mdrnn/best.tar", saved, "M", {"vae": ("V", f"{run.logdir}/vae/best.tar")})
    include_reward = saved["config"]["include_reward"]
    figures.save(losses(summary, include_reward), f"{folder}/mdrnn_losses.png")
    generator = torch.Generator().manual_seed(seeding.integer_seed(run.seed, "figures/mdrnn"))
    episodes = [read_episode(path, vae, mdrnn, generator) for path in args.rollouts]
    shown = max(episodes, key=lambda e: (len(e.z) > WARM_UP + HORIZON, e.rewards.sum()))  # where the most happens
    figures.save(strip(vae, mdrnn, shown, generator), f"{folder}/mdrnn_dream.png")
    figures.save(rewards(episodes, shown, include_reward), f"{folder}/mdrnn_reward.png")
    figure, first, trivial = horizons(mdrnn, episodes, generator)
    figures.save(figure, f"{folder}/mdrnn_horizon.png")
    log.info(
        "mdrnn figures: NLL one step ahead %.2f nats, %.2f if z stayed, over %d held-out episodes, %s/mdrnn_*.png",
        first, trivial, len(episodes), folder,
    )  # fmt: skip


if __name__ == "__main__":
    made = make_parser(__doc__)
    made.add_argument("rollouts", nargs="+", help="rollout files to show, held out from training")
    run_program(made, main)
