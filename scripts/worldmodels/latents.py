"""Latents: every frame of the rollouts through V's encoder, once."""

from pathlib import Path

import numpy as np
import torch

from worldmodels import checkpoint
from worldmodels.cli import progress
from worldmodels.datasets import ahead, read_rollout
from worldmodels.settings import UserError
from worldmodels.vae import ConvVAE, encode

KEYS = ("latents", "logsigmas", "actions", "rewards", "terminals", "offsets")


def precompute_latents(
    vae: ConvVAE, files: list[str], path: str | Path, batch_size: int = 256
) -> dict[str, np.ndarray]:
    """Encode the rollouts and write them as one .npz file.

    Args:
        vae: the trained network, on the device that encodes.
        files: the rollouts, in order.
        path: the file to write: latents (N, latent_size) float32, which are V's mu, logsigmas alike,
            actions (N, A), rewards and terminals (N,) float32, offsets (E,) int64, the row where each episode starts.

    Returns:
        The arrays written.
    """
    parts: dict[str, list[np.ndarray]] = {key: [] for key in KEYS if key != "offsets"}
    lengths = []
    for file, episode in zip(progress(files, "latents"), ahead(read_rollout, files)):
        check_frames(vae, episode["observations"], file)
        batches = torch.from_numpy(episode["observations"]).split(batch_size)
        mu, logsigma = (torch.cat(part).cpu().numpy() for part in zip(*(encode(vae, batch) for batch in batches)))
        for key, array in zip(parts, (mu, logsigma, episode["actions"], episode["rewards"], episode["terminals"])):
            parts[key].append(array)
        lengths.append(len(mu))
    arrays = {key: np.concatenate(part) for key, part in parts.items()}
    arrays["offsets"] = np.cumsum([0, *lengths[:-1]], dtype=np.int64)
    checkpoint.write_npz(path, arrays)
    return arrays


def check_frames(vae: ConvVAE, frames: np.ndarray, file: str) -> None:
    channels = vae.encoder.conv1.in_channels
    if frames.shape[1:] != (64, 64, channels):
        raise UserError(
            f"{file}: expected frames shaped (64, 64, {channels}) as V was trained on, found {frames.shape[1:]}"
        )
