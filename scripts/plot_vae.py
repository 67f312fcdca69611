#!/usr/bin/env python
"""Figures of V: learning curves, held-out frames beside their reconstructions, the worst ones, samples, traversals.

Writes <logdir>/report/vae_*.png.
"""

import numpy as np
import torch

from worldmodels.data.datasets import EpisodeGroup
from worldmodels.envs import seeding
from worldmodels.models.decoding import decode
from worldmodels.models.encoding import encode
from worldmodels.models.load_vae import load_vae
from worldmodels.models.vae import VAE
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.showing import figures
from worldmodels.storage.files import prepare_folder, read_json

SHOWN = 10  # frames a row
APART = 25  # steps between two frames that count as different ones
LOOKED_AT = 4096  # held-out frames among which the worst are looked for


def losses(summary: dict, beta: float):
    """Squared error, KL and learning rate by epoch."""
    history = summary["history"]
    figure = figures.new(11, 4)
    error, kl, rate = figure.subplots(1, 3)
    figures.curves(error, history, "mse", "squared error, sum over an image")
    figures.curves(kl, history, "kl", "KL to the prior, nats an image")
    for ax in (error, kl):
        figures.mark_epoch(ax, summary["epoch"], "kept: epoch")
        ax.legend()
    figures.learning_rate(rate, history)
    loss = "squared error + KL" if beta == 1 else f"squared error + {beta:g} KL"
    figure.suptitle(f"V: best held-out loss {summary['precision']:.2f} per image ({loss})")
    return figure


def squared_errors(frames: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(B,): the squared error of each frame, summed over its pixels on the scale 0 to 1."""
    return np.square(frames / 255.0 - others / 255.0).sum((1, 2, 3))


def reconstruct(vae: VAE, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames (B,H,W,C) uint8 -> reconstructions alike; their errors (B,); KL of each latent dimension, nats (B,n)."""
    images, errors, kls = [], [], []
    for batch in np.array_split(frames, -(-len(frames) // 256)):
        mu, logsigma = encode(vae, torch.from_numpy(batch))
        images.append(decode(vae, mu))
        errors.append(squared_errors(batch, images[-1]))
        kls.append((-0.5 * (1 + 2 * logsigma - mu**2 - (2 * logsigma).exp())).cpu().numpy())
    return np.concatenate(images), np.concatenate(errors), np.concatenate(kls)


def pairs(frames: np.ndarray, images: np.ndarray, errors: np.ndarray, heading: str):
    """Frames above their reconstructions and where the two differ."""
    difference = np.abs(frames.astype(int) - images).max(-1, keepdims=True).astype(np.uint8)
    rows = {"held-out\nframe": frames, "recon-\nstruction": images, "difference": difference}
    return figures.image_rows(rows, notes=[f"error {error:.0f}" for error in errors], heading=heading)


def worst(errors: np.ndarray, rows: np.ndarray) -> list[int]:
    """The frames with the largest errors (N,), no two of them from neighbouring rows (N,) of the data."""
    chosen: list[int] = []
    for i in np.argsort(-errors):
        if all(abs(rows[i] - rows[j]) >= APART for j in chosen):
            chosen.append(int(i))
        if len(chosen) == SHOWN:
            break
    return chosen


def traversals(vae: VAE, z: torch.Tensor, kl: np.ndarray):
    """Each of the latents that say most (largest KL (n,)) moved alone from -3 to 3, the others as in z (n,)."""
    values = np.linspace(-3, 3, 9)
    rows = {}
    for i in np.argsort(-kl)[:8]:
        moved = z.repeat(1 + len(values), 1)
        moved[1:, i] = torch.tensor(values, dtype=z.dtype)
        rows[f"z[{i}]\n{kl[i]:.2f} nats"] = decode(vae, moved)
    heading = "A held-out frame with one latent changed at a time; under the prior its standard deviation is 1"
    return figures.image_rows(rows, ["unchanged", *(f"{value:.2f}" for value in values)], heading=heading)


def main(args) -> None:
    run = run_config_from_args(args)
    folder = f"{run.logdir}/report"
    prepare_folder(folder)
    summary = read_json(f"{run.logdir}/vae/best.json", ("epoch", "precision", "history"))
    vae, saved = load_vae(f"{run.logdir}/vae/best.tar")
    figures.save(losses(summary, saved["config"]["beta"]), f"{folder}/vae_losses.png")

    data = EpisodeGroup(args.rollouts)
    rng = seeding.generator(run.seed, "figures/vae")
    rows = rng.permutation(len(data.rewards))[:LOOKED_AT]
    frames = data.observations[rows]
    images, errors, kl = reconstruct(vae, frames)
    some = slice(0, SHOWN)
    heading = f"Held-out frames drawn at random; mean error of {len(frames)} frames: {errors.mean():.1f}"
    figures.save(pairs(frames[some], images[some], errors[some], heading), f"{folder}/vae_reconstructions.png")
    bad = worst(errors, rows)
    heading = f"The worst of {len(frames)} held-out frames, no two within {APART} steps"
    figures.save(pairs(frames[bad], images[bad], errors[bad], heading), f"{folder}/vae_worst.png")

    size = saved["config"]["latent_size"]
    drawn = decode(vae, torch.tensor(rng.standard_normal((4 * SHOWN, size)), dtype=torch.float32))
    parts = {f"draws {i + 1}\nto {i + SHOWN}": drawn[i : i + SHOWN] for i in range(0, len(drawn), SHOWN)}
    figures.save(figures.image_rows(parts, heading="Decoded draws from the prior N(0, 1)"), f"{folder}/vae_samples.png")
    typical, _ = encode(vae, torch.from_numpy(frames[:1]))
    figures.save(traversals(vae, typical[0].clone(), kl.mean(0)), f"{folder}/vae_traversals.png")
    log.info(
        "vae figures: mean error %.1f over %d held-out frames, worst %.0f, %d of %d latents in use, %s/vae_*.png",
        errors.mean(), len(frames), errors.max(), int((kl.mean(0) > 0.01).sum()), size, folder,
    )  # fmt: skip


if __name__ == "__main__":
    made = make_parser(__doc__)
    made.add_argument("rollouts", nargs="+", help="rollout files to show, held out from training")
    run_program(made, main)
