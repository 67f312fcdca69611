"""What the summaries of shards and the log say of episodes."""

import numpy as np

from worldmodels.envs.backends import describe_env
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.paths import num_shards

DARK = 16  # of 255. Pictures without a brighter pixel are nearly black.


def summarize_episode(file: str, renderer: str, arrays: dict[str, np.ndarray]) -> dict:
    """Return what a shard's summary says about an episode, whose file has been written."""
    observations = arrays["observations"]
    sample = observations[:: max(1, len(observations) // 100)]  # a hundred frames or so
    return {
        "sha256": file_digest(file),
        "steps": len(arrays["rewards"]),
        "return": round(float(arrays["rewards"].sum()), 3),
        "renderer": renderer,
        "brightest": int(sample.max()),
        "largest_change": int(np.ptp(sample, axis=0).max()),  # of a pixel
    }


def warn_about_pictures(episodes: list[dict], env: EnvConfig) -> None:
    """Log a warning if the pictures of all episodes are nearly black or never change.

    Args:
        episodes: their summaries.
        env: the environment.
    """
    brightest = max(episode["brightest"] for episode in episodes)
    if brightest < DARK:
        problem = f"are nearly black: the brightest pixel is {brightest} of 255"
    elif not any(episode["largest_change"] for episode in episodes):
        problem = "never change within an episode"
    else:
        return
    advice = "" if env.frames == "render" else "; if the observations are no pictures, set env.frames: render"
    log.warning("rollouts: the pictures of %s %s%s", env.id, problem, advice)


def check_shard_flag(shard: int | None, rollouts: RolloutsConfig) -> None:
    """Raise UserError if --shard names a shard that does not exist."""
    shards = num_shards(rollouts.num_rollouts, rollouts.shard_size)
    if shard is not None and not 0 <= shard < shards:
        raise UserError(
            f"--shard: expected 0 to {shards - 1}, since --num-rollouts is {rollouts.num_rollouts} and --shard-size "
            f"{rollouts.shard_size}, found {shard}"
        )


def log_episodes(episodes: list[dict], env: EnvConfig, data_dir: str) -> None:
    """Log the number of the episodes, their steps and their mean return.

    Args:
        episodes: their summaries.
        env: the environment.
        data_dir: folder of the files.
    """
    steps = sum(episode["steps"] for episode in episodes)
    mean_return = sum(episode["return"] for episode in episodes) / len(episodes)
    log.info(
        "rollouts: %d episodes of %s, %d steps, mean return %.1f, in %s",
        len(episodes), describe_env(env), steps, mean_return, data_dir,
    )  # fmt: skip
