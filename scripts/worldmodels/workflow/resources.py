"""What jobs ask of a cluster: memory in MB."""

import types
from collections.abc import Callable

from worldmodels.runtime.config import RolloutsConfig


def growing(amount: float) -> Callable:
    """Return a resource that grows with each attempt. An attempt may have run out of memory or of time."""
    return lambda wildcards, attempt: int(amount * attempt)


def playing_memory(wildcards: object, threads: int, attempt: int) -> int:
    """Return the MB of a job whose workers play episodes. Measured: 1,660 MB with two workers."""
    return (1000 + 700 * threads) * attempt


def collecting_memory(frame: float, rollouts: RolloutsConfig, episodes: int) -> float:
    """Return the MB of a job that collects episodes and holds them until the last one ends.

    Measured: 710 MB for 32 episodes of 1,000 frames, in 45 s.

    Args:
        frame: MB of a frame.
        episodes: episodes of the job.
    """
    return 600 + 1.3 * frame * rollouts.seq_len * episodes


def frame_memory(config: types.SimpleNamespace) -> float:
    """Return the MB of a frame as V sees it."""
    channels = 1 if config.env.grey else 3
    return config.env.height * config.env.width * channels / 1e6


def loaded_memory(config: types.SimpleNamespace) -> float:
    """Return the MB of frames that a training holds: all of them, at most vae.memory_gb."""
    frames = config.rollouts.num_rollouts * config.rollouts.seq_len
    return min(frames * frame_memory(config), 1000 * config.vae.memory_gb)


def latents_memory(config: types.SimpleNamespace) -> float:
    """Return the MB of the latents of all frames."""
    return config.rollouts.num_rollouts * config.rollouts.seq_len * config.vae.latent_size * 8 / 1e6
