#!/usr/bin/env python
"""Draw the figures of M: learning curves, a dream, predicted rewards and endings, likelihood by horizon.

Writes <logdir>/report/mdrnn_*.png.
"""

from argparse import Namespace
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
from worldmodels.showing.endings import Prediction, detect_endings, draw_endings
from worldmodels.showing.figures import BLACK, BLUE, GREEN, ORANGE, RED
from worldmodels.storage.checkpoints import check_models
from worldmodels.storage.files import read_json

WARM_UP = 100  # true steps that M sees before it predicts
HORIZON = 100  # steps ahead that M predicts
STRIDE = 25  # steps between two starts
DREAMS = 8  # dreams that a prediction is averaged over
STRETCH = 50  # steps over which predicted and true rewards are averaged
REWARD_STEPS = 400  # steps of the shown episode whose rewards are drawn
AHEAD = (0, 1, 2, 5, 10, 20, 30, 40, 60, 80, 100)  # steps ahead that the film strip shows


@dataclass
class Episode:
    """A held-out episode of T steps, and what M predicts for it.

    Attributes:
        frames: (T,H,W,C) uint8.
        z: (T,n), latents.
        actions: (T,A).
        rewards: (T,).
        predicted_rewards: (T,), for each step from the steps up to it.
        predicted_z: (T,n), the mean of the most likely Gaussian for the latent after each step.
        endings: the predicted and the true endings.
    """

    frames: np.ndarray
    z: torch.Tensor
    actions: torch.Tensor
    rewards: np.ndarray
    predicted_rewards: np.ndarray
    predicted_z: torch.Tensor
    endings: Prediction


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    folder = figures.report_folder(run.logdir)
    weights = {stage: f"{run.logdir}/{stage}/best.tar" for stage in ("vae", "mdrnn")}
    summary = read_json(f"{run.logdir}/mdrnn/best.json", ("epoch", "precision", "history"))
    vae, _ = load_vae(weights["vae"])
    mdrnn, saved = load_mdrnn(weights["mdrnn"])
    check_models(weights["mdrnn"], saved, "M", {"vae": ("V", weights["vae"])})
    include_reward = saved["config"]["include_reward"]
    figures.save_figure(draw_losses(summary, include_reward), folder / "mdrnn_losses.png")
    generator = torch.Generator().manual_seed(seeding.integer_seed(run.seed, "figures/mdrnn"))
    episodes = [read_episode(path, vae, mdrnn, generator) for path in args.rollouts]
    shown = max(episodes, key=interest)
    figures.save_figure(draw_dream(vae, mdrnn, shown, generator), folder / "mdrnn_dream.png")
    figures.save_figure(draw_rewards(episodes, shown, include_reward), folder / "mdrnn_reward.png")
    endings = [episode.endings for episode in episodes]
    figures.save_figure(draw_endings(endings), folder / "mdrnn_terminal.png")
    figure, nll, stays_nll = draw_horizons(mdrnn, episodes, generator)
    figures.save_figure(figure, folder / "mdrnn_horizon.png")
    log.info(
        "mdrnn figures: NLL one step ahead %.2f nats, %.2f if z stayed, over %d held-out episodes, %s/mdrnn_*.png",
        nll, stays_nll, len(episodes), folder,
    )  # fmt: skip
    log.info("mdrnn figures: endings: %s", detect_endings(endings).text())


@torch.inference_mode()
def read_episode(path: str, vae: VAE, mdrnn: MDRNN, generator: torch.Generator) -> Episode:
    """Read a rollout and have M predict each of its steps.

    Raises:
        UserError: The file is missing or damaged, or its actions have another size than M's.
    """
    arrays = read_rollout(path)
    actions = torch.from_numpy(arrays["actions"])
    if actions.shape[1] != mdrnn.actions:
        raise UserError(f"{path}: expected actions of size {mdrnn.actions} as M's, found {actions.shape[1]}")
    z = draw_latents(vae, arrays["observations"], generator)
    *mixture, rewards, terminals = mdrnn(actions.unsqueeze(1), z.unsqueeze(1))
    predicted_z = sample_latent(*mixture, temperature=0).squeeze(1)
    endings = Prediction(terminals.squeeze(1).sigmoid().numpy(), arrays["terminals"])
    predicted_rewards = rewards.squeeze(1).numpy()
    return Episode(arrays["observations"], z, actions, arrays["rewards"], predicted_rewards, predicted_z, endings)


def interest(episode: Episode) -> tuple[bool, float]:
    """Return the sort key of the episode to show: long episodes come last, ordered by their return."""
    return len(episode.z) > WARM_UP + HORIZON, episode.rewards.sum()


def draw_losses(summary: dict, include_reward: bool) -> Figure:
    """Draw each term of the loss and the learning rate by epoch."""
    history = summary["history"]
    terms = {"gmm": "next latent: NLL, nats", "bce": "terminal: cross-entropy, nats"}
    if include_reward:
        terms["mse"] = "reward: squared error"
    figure = figures.new_figure(3.6 * (len(terms) + 1), 4)
    if not history:
        figure.text(0.5, 0.5, "M has not been trained (mdrnn.num_epochs: 0)", ha="center", va="center")
        return figure
    *axes, learning_rate = figure.subplots(1, len(terms) + 1)
    for ax, (term, label) in zip(axes, terms.items()):
        figures.draw_learning_curves(ax, history, term, label)
        figures.draw_kept_epoch(ax, summary["epoch"])
        if term == "bce":
            ax.set_yscale("log")
    figures.draw_learning_rate(learning_rate, history)
    figures.draw_legend(figure, axes[0], columns=3)
    figure.suptitle(f"M: best held-out loss {summary['precision']:.4f} (the sum of the terms per latent dimension)")
    return figure


def draw_dream(vae: VAE, mdrnn: MDRNN, episode: Episode, generator: torch.Generator) -> Figure:
    """Draw a film strip of an episode.

    Its rows: true frames, reconstructions, predictions one step ahead, and a dream with the true actions.
    """
    start = min(WARM_UP, len(episode.z) // 2)
    shown = [k for k in AHEAD if start + k < len(episode.z)]
    first = episode.z[start : start + 1]
    hidden = hidden_after(mdrnn, episode.actions[:start, None], episode.z[:start, None])
    steps = dream(
        to_cell(mdrnn), first, hidden, lambda k, z, h: episode.actions[start + k, None], shown[-1], 1.0, generator
    )
    dreamt = torch.cat([first, *(step.latent for step in steps)])
    times = [start + k for k in shown]
    rows = {
        "true": episode.frames[times],
        "reconstructed": decode(vae, episode.z[times]),
        "predicted one\nstep ahead": decode(vae, episode.predicted_z[[t - 1 for t in times]]),
        "dreamt since\nstep 0": decode(vae, dreamt[shown]),
    }
    heading = "A held-out episode: M sees the true frames up to step 0; the dream then gets its actions only"
    return figures.draw_image_rows(
        rows, ["start", *("+1 step" if k == 1 else f"+{k} steps" for k in shown[1:])], heading=heading
    )


def draw_rewards(episodes: list[Episode], shown: Episode, include_reward: bool) -> Figure:
    """Draw true and predicted rewards: per step of the shown episode, and the means over stretches of all episodes."""
    figure = figures.new_figure(11, 4.3)
    left, right = figure.subfigures(1, 2, width_ratios=(2, 1))
    steps, stretches = left.subplots(), right.subplots()
    steps.plot(shown.rewards[:REWARD_STEPS], color=BLACK, lw=1, label="true")
    steps.set(xlabel="step of a held-out episode", ylabel="reward of the step")
    if include_reward:
        predicted = shown.predicted_rewards[:REWARD_STEPS]
        steps.plot(predicted, color=ORANGE, lw=1.6, label="predicted by M, one step ahead")
        true, predicted = (
            np.concatenate([episode.rewards for episode in episodes]),
            np.concatenate([episode.predicted_rewards for episode in episodes]),
        )
        steps.set_title(f"{fit_text(true, predicted)}, {len(true):,} single steps", fontsize=11)
        draw_mean_rewards(stretches, episodes)
        figures.draw_legend(right, stretches, columns=1)
    else:
        stretches.set_axis_off()
        stretches.text(0.5, 0.5, "M was trained without\nthe reward\n(mdrnn.include_reward)", ha="center", va="center")
    figures.draw_legend(left, steps, columns=2)
    return figure


def draw_mean_rewards(ax: Axes, episodes: list[Episode]) -> None:
    """Draw the mean predicted reward over the mean true reward, a point per stretch of an episode."""
    true = np.concatenate([stretch_means(episode.rewards) for episode in episodes])
    predicted = np.concatenate([stretch_means(episode.predicted_rewards) for episode in episodes])
    ax.scatter(true, predicted, s=14, alpha=0.5, color=BLUE, lw=0)
    if len(true):
        bounds = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        ax.plot(bounds, bounds, color=BLACK, ls=":", label="perfect prediction")
        ax.set_title(f"{fit_text(true, predicted)}, stretches of {STRETCH} steps", fontsize=11)
    ax.set(xlabel="true reward per step", ylabel="predicted reward per step")


def fit_text(true: np.ndarray, predicted: np.ndarray) -> str:
    """Return R squared as text: the share of the true values' variance that the prediction explains.

    True values that are all equal have no variance to explain. The text is then the root mean square error.
    """
    error = np.mean((true - predicted) ** 2)
    return f"R² {1 - error / true.var():.2f}" if np.ptp(true) else f"error {np.sqrt(error):.2g}"


def stretch_means(values: np.ndarray) -> np.ndarray:
    """Return the means over stretches of STRETCH steps. A shorter stretch at the end is left out."""
    stretches = values[: len(values) // STRETCH * STRETCH].reshape(-1, STRETCH)
    return stretches.mean(1)


def draw_horizons(mdrnn: MDRNN, episodes: list[Episode], generator: torch.Generator) -> tuple[Figure, float, float]:
    """Draw the negative log-likelihood of the true latents 1, 2, ... steps ahead, for M and for two trivial predictors.

    Returns:
        The figure, and the values one step ahead: of M, and of a Gaussian around the last latent seen.
    """
    longest = max(len(episode.z) for episode in episodes) - 1
    warm_up = min(WARM_UP, longest // 2)
    latents_and_actions = [(episode.z, episode.actions) for episode in episodes]
    windows = cut_windows(latents_and_actions, warm_up, min(HORIZON, longest - warm_up), STRIDE)
    nll = horizon_nll(mdrnn, windows, DREAMS, generator)
    stays_nll, any_nll = trivial_nll(windows)
    ahead = np.arange(1, len(nll) + 1)
    figure = figures.new_figure(8, 5)
    ax = figure.subplots()
    ax.plot(ahead, nll, color=BLUE, label=f"M, dreaming ({DREAMS} dreams each)")
    ax.plot(ahead, stays_nll, color=RED, ls="--", label='"z stays": Gaussian around the last z seen')
    ax.axhline(any_nll, color=GREEN, ls="-.", label="one Gaussian for all z, whatever was seen")
    ax.set(xlabel="steps ahead", ylabel="negative log-likelihood of the true z, nats")
    ax.set_title(f"{windows.latents.shape[1]} starts in held-out episodes; lower is better", fontsize=11)
    figures.draw_legend(figure, ax, columns=2)
    return figure, nll[0], stays_nll[0]


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("rollouts", nargs="+", help="rollout files to show, held out from training")
    run_program(parser, main)
