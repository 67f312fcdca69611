"""Latents: V's encoder encodes every frame of the rollouts once."""

import math
import time
from pathlib import Path

import numpy as np
import torch

from worldmodels.data.episodes import prefetch, read_rollout
from worldmodels.models.encoding import encode
from worldmodels.models.vae import VAE
from worldmodels.runtime import interrupts
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.progress import progress
from worldmodels.storage.checkpoints import save_checkpoint
from worldmodels.storage.npz import write_npz
from worldmodels.storage.states import load_state

LATENT_KEYS = ("latents", "logsigmas", "actions", "rewards", "terminals", "offsets")
SAVE_SECONDS = 300  # between two saves


def precompute_latents(
    vae: VAE, files: list[str], path: str | Path, batch_size: int = 256, identity: str | None = None
) -> dict[str, np.ndarray]:
    """Encode the rollouts and write them as one .npz file.

    With an identity, the encoded episodes are saved in checkpoint.tar beside the file, every few minutes and when a
    signal asks to stop. A later call with the same identity continues from there.

    Args:
        vae: the trained network, on the device that encodes.
        files: the rollouts, in order.
        path: the file to write.
        batch_size: the largest number of frames to encode at once.
        identity: stamp of the code, V and the rollouts.

    Returns:
        The arrays in the file, float32 but the last one: latents (N, latent_size), which are V's mu. logsigmas
        (N, latent_size). actions (N, A), rewards (N,) and terminals (N,). offsets (E,) int64, the rows where the
        episodes start.

    Raises:
        Interrupted: a signal came. The encoded episodes are saved.
        UserError: the frames of a rollout do not have the shape that V was trained on.
    """
    state_path = Path(path).with_name("checkpoint.tar")
    state = load_state(state_path, identity, log.info) if identity else None
    state = state or {"identity": identity, "episodes": []}
    episodes: list[dict[str, torch.Tensor]] = state["episodes"]
    if episodes:
        log.info("latents: continuing after %d episodes", len(episodes))
    files_left, last_save = files[len(episodes) :], time.monotonic()
    with interrupts.patiently():
        names = progress(files_left, "latents", len(files), initial=len(episodes))
        for file, episode in zip(names, prefetch(read_rollout, files_left)):
            check_frames(vae, episode["observations"], file)
            episodes.append(encode_episode(vae, episode, batch_size))
            if interrupts.requested() or time.monotonic() - last_save > SAVE_SECONDS:
                if identity:
                    save_checkpoint(state_path, state)
                last_save = time.monotonic()
                interrupts.check()
    arrays = join_episodes(episodes)
    write_npz(path, arrays)
    state_path.unlink(missing_ok=True)
    return arrays


def encode_episode(vae: VAE, episode: dict[str, np.ndarray], batch_size: int) -> dict[str, torch.Tensor]:
    """Replace the observations of an episode of T steps by latents and logsigmas (T, latent_size), on the CPU."""
    frames = torch.from_numpy(episode.pop("observations"))
    # Batches of about equal size, because a tiny last batch would be slow.
    batches = frames.chunk(math.ceil(len(frames) / batch_size))
    mu, logsigma = (torch.cat(tensors).cpu() for tensors in zip(*(encode(vae, batch) for batch in batches)))
    other_arrays = {key: torch.from_numpy(array) for key, array in episode.items()}
    return {"latents": mu.clone(), "logsigmas": logsigma.clone(), **other_arrays}


def join_episodes(episodes: list[dict[str, torch.Tensor]]) -> dict[str, np.ndarray]:
    """Return the arrays of all episodes one after another, and the offsets where they start."""
    arrays = {key: torch.cat([e[key] for e in episodes]).numpy() for key in LATENT_KEYS if key != "offsets"}
    arrays["offsets"] = np.cumsum([0, *(len(e["rewards"]) for e in episodes[:-1])], dtype=np.int64)
    return arrays


def check_frames(vae: VAE, frames: np.ndarray, file: str) -> None:
    """Raise UserError if the frames (T, H, W, C) of a file do not have the shape that V was trained on."""
    if frames.shape[1:] != vae.image_shape:
        raise UserError(
            f"{file}: expected frames shaped {vae.image_shape} as V was trained on, found {frames.shape[1:]}"
        )
