"""Latents: every frame of the rollouts through V's encoder, once."""

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
SAVE_SECONDS = 300


def precompute_latents(
    vae: VAE, files: list[str], path: str | Path, batch_size: int = 256, identity: str | None = None
) -> dict[str, np.ndarray]:
    """Encode the rollouts and write them as one .npz file.

    With an identity, what is done goes to checkpoint.tar beside the file every few minutes and when a signal asks to
    stop; a later call of the same identity goes on from there.

    Args:
        vae: the trained network, on the device that encodes.
        files: the rollouts, in order.
        path: the file to write: latents (N, latent_size) float32, which are V's mu, logsigmas alike,
            actions (N, A), rewards and terminals (N,) float32, offsets (E,) int64, the row where each episode starts.
        identity: stamp of the code, V and the rollouts.

    Returns:
        The arrays written.

    Raises:
        Interrupted: a signal came; what is done is saved.
    """
    state_path = Path(path).with_name("checkpoint.tar")
    state = load_state(state_path, identity, log.info) if identity else None
    state = state or {"identity": identity, "episodes": []}
    episodes: list[dict[str, torch.Tensor]] = state["episodes"]
    if episodes:
        log.info("latents: continuing after %d episodes", len(episodes))
    left, saved = files[len(episodes) :], time.monotonic()
    with interrupts.patiently():
        steps = progress(left, "latents", len(files), initial=len(episodes))
        for file, episode in zip(steps, prefetch(read_rollout, left)):
            check_frames(vae, episode["observations"], file)
            # Batches of about equal size, since a tiny one at the end would be slow.
            frames = torch.from_numpy(episode.pop("observations"))
            batches = frames.chunk(-(-len(frames) // batch_size))
            mu, logsigma = (torch.cat(part).cpu() for part in zip(*(encode(vae, batch) for batch in batches)))
            others = {key: torch.from_numpy(array) for key, array in episode.items()}
            episodes.append({"latents": mu.clone(), "logsigmas": logsigma.clone(), **others})
            if interrupts.requested() or time.monotonic() - saved > SAVE_SECONDS:
                if identity:
                    save_checkpoint(state_path, state)
                saved = time.monotonic()
                interrupts.check()
    arrays = {key: torch.cat([e[key] for e in episodes]).numpy() for key in LATENT_KEYS if key != "offsets"}
    arrays["offsets"] = np.cumsum([0, *(len(e["rewards"]) for e in episodes[:-1])], dtype=np.int64)
    write_npz(path, arrays)
    state_path.unlink(missing_ok=True)
    return arrays


def check_frames(vae: VAE, frames: np.ndarray, file: str) -> None:
    if frames.shape[1:] != vae.image_shape:
        raise UserError(
            f"{file}: expected frames shaped {vae.image_shape} as V was trained on, found {frames.shape[1:]}"
        )
