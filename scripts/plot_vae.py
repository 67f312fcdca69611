#!/usr/bin/env python
"""Draw the figures of V: learning curves, reconstructions, the worst reconstructions, samples and latent traversals.

Writes <logdir>/report/vae_*.png.
"""

import math
from argparse import Namespace

import numpy as np
import torch
from matplotlib.figure import Figure

from worldmodels.data.datasets import EpisodeGroup
from worldmodels.envs import seeding
from worldmodels.models.decoding import decode
from worldmodels.models.encoding import encode
from worldmodels.models.load_vae import load_vae
from worldmodels.models.vae import VAE
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.showing import figures
from worldmodels.storage.files import read_json

COLUMNS = 10  # frames per row
MAX_FRAMES = 4096  # held-out frames that are reconstructed
DISTANCE = 25  # least distance between two of the worst frames, steps
BATCH_SIZE = 256  # frames per batch
TRAVERSED = 8  # latents that are changed one at a time
USED = 0.01  # least mean KL of a latent that counts as used, nats


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    folder = figures.report_folder(run.logdir)
    summary = read_json(f"{run.logdir}/vae/best.json", ("epoch", "precision", "history"))
    vae, saved = load_vae(f"{run.logdir}/vae/best.tar")
    size = saved["config"]["latent_size"]
    rollouts = EpisodeGroup(args.rollouts)
    rng = seeding.generator(run.seed, "figures/vae")
    rows = rng.permutation(len(rollouts.rewards))[:MAX_FRAMES]
    frames = rollouts.observations[rows]
    images, errors, kl = reconstruct(vae, frames)
    noise = torch.tensor(rng.standard_normal((4 * COLUMNS, size)), dtype=torch.float32)

    def draw_pairs(chosen: list[int], heading: str) -> Figure:
        return draw_reconstructions(frames[chosen], images[chosen], errors[chosen], heading)

    random_heading = f"Held-out frames drawn at random; mean error of {len(frames)} frames: {errors.mean():.1f}"
    worst_heading = f"The worst of {len(frames)} held-out frames, no two within {DISTANCE} steps"
    first = list(range(min(COLUMNS, len(frames))))
    drawings = {
        "losses": draw_losses(summary, saved["config"]["beta"]),
        "reconstructions": draw_pairs(first, random_heading),
        "worst": draw_pairs(choose_worst(errors, rows), worst_heading),
        "samples": draw_samples(vae, noise),
        "traversals": draw_traversals(vae, frames[:1], kl.mean(0)),
    }
    for name, figure in drawings.items():
        figures.save_figure(figure, folder / f"vae_{name}.png")
    log.info(
        "vae figures: mean error %.1f over %d held-out frames, worst %.0f, %d of %d latents in use, %s/vae_*.png",
        errors.mean(), len(frames), errors.max(), int((kl.mean(0) > USED).sum()), size, folder,
    )  # fmt: skip


def reconstruct(vae: VAE, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what V makes of frames (B,H,W,C) uint8, without noise.

    Returns:
        reconstructions (B,H,W,C) uint8, their errors (B,), and the KL of each latent dimension (B,n), nats.
    """
    images, errors, kls = [], [], []
    for batch in np.array_split(frames, math.ceil(len(frames) / BATCH_SIZE)):
        mu, logsigma = encode(vae, torch.from_numpy(batch))
        images.append(decode(vae, mu))
        errors.append(squared_errors(batch, images[-1]))
        kls.append((-0.5 * (1 + 2 * logsigma - mu**2 - (2 * logsigma).exp())).cpu().numpy())
    return np.concatenate(images), np.concatenate(errors), np.concatenate(kls)


def squared_errors(frames: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the squared error of each image (B,H,W,C), summed over its pixels on the scale 0 to 1: (B,)."""
    return np.square(frames / 255.0 - images / 255.0).sum((1, 2, 3))


def choose_worst(errors: np.ndarray, rows: np.ndarray) -> list[int]:
    """Return the indices of the frames with the largest errors, no two of them close to each other.

    Args:
        errors: (B,), of each frame.
        rows: (B,), the row of each frame in the rollouts.
    """
    chosen: list[int] = []
    for i in np.argsort(-errors):
        if all(abs(rows[i] - rows[j]) >= DISTANCE for j in chosen):
            chosen.append(int(i))
        if len(chosen) == COLUMNS:
            break
    return chosen


def draw_losses(summary: dict, beta: float) -> Figure:
    """Draw squared error, KL and learning rate by epoch."""
    history = summary["history"]
    figure = figures.new_figure(11, 4)
    error, kl, learning_rate = figure.subplots(1, 3)
    figures.draw_learning_curves(error, history, "mse", "squared error, sum over an image")
    figures.draw_learning_curves(kl, history, "kl", "KL to the prior, nats per image")
    for ax in (error, kl):
        figures.draw_kept_epoch(ax, summary["epoch"])
    figures.draw_learning_rate(learning_rate, history)
    figures.draw_legend(figure, error, columns=3)
    loss = "squared error + KL" if beta == 1 else f"squared error + {beta:g} KL"
    figure.suptitle(f"V: best held-out loss {summary['precision']:.2f} per image ({loss})")
    return figure


def draw_reconstructions(frames: np.ndarray, images: np.ndarray, errors: np.ndarray, heading: str) -> Figure:
    """Draw frames (B,H,W,C) above their reconstructions, and below both the largest difference of the channels."""
    difference = np.abs(frames.astype(int) - images).max(-1, keepdims=True).astype(np.uint8)
    rows = {"held-out\nframe": frames, "recon-\nstruction": images, "difference": difference}
    return figures.draw_image_rows(rows, notes=[f"error {error:.0f}" for error in errors], heading=heading)


def draw_samples(vae: VAE, noise: torch.Tensor) -> Figure:
    """Draw what V decodes from draws (B,n) from the prior."""
    images = decode(vae, noise)
    rows = {
        f"draws {first + 1}\nto {first + COLUMNS}": images[first : first + COLUMNS]
        for first in range(0, len(images), COLUMNS)
    }
    return figures.draw_image_rows(rows, heading="Decoded draws from the prior N(0, 1)")


def draw_traversals(vae: VAE, frame: np.ndarray, kl: np.ndarray) -> Figure:
    """Draw a frame with one latent at a time moved from -3 to 3.

    Args:
        vae: V.
        frame: (1,H,W,C) uint8.
        kl: (n,), the mean KL of each latent. Only the latents with the largest KL are moved.
    """
    mu, _ = encode(vae, torch.from_numpy(frame))
    z = mu[0].clone()
    values = np.linspace(-3, 3, 9)
    rows = {}
    for i in np.argsort(-kl)[:TRAVERSED]:
        moved = z.repeat(1 + len(values), 1)
        moved[1:, i] = torch.tensor(values, dtype=z.dtype)
        rows[f"z[{i}]\n{kl[i]:.2f} nats"] = decode(vae, moved)
    heading = "A held-out frame with one latent changed at a time; under the prior its standard deviation is 1"
    return figures.draw_image_rows(rows, ["unchanged", *(f"{value:.2f}" for value in values)], heading=heading)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("rollouts", nargs="+", help="rollout files to show, held out from training")
    run_program(parser, main)
