"""Rollouts: episodes under policies that look at nothing, one .npz file an episode.

Every episode is made from the run's seed and its own number alone, so the files are the same whatever the
number of shards or cores.
"""

from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np

from worldmodels import checkpoint, seeding
from worldmodels.config import EnvConfig, RolloutsConfig, num_shards, shard_files
from worldmodels.envs import action_space, choose_backend, make_lanes, versions
from worldmodels.settings import UserError
from worldmodels.workers import workers


def random_actions(space: gym.spaces.Box, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig) -> np.ndarray:
    """Uniform and independent: action_space.sample()."""
    space.seed(int(rng.integers(2**31)))
    return np.stack([space.sample() for _ in range(steps)])


def brownian_actions(
    space: gym.spaces.Box, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig
) -> np.ndarray:
    """A random walk from the middle of the bounds, kept inside them; a step is a tenth of the range."""
    middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
    position, walk = np.zeros(space.shape), np.empty((steps, *space.shape))
    for t, step in enumerate(rng.normal(0.0, 0.2, walk.shape)):
        position = np.clip(position + step, -1.0, 1.0)
        walk[t] = position
    return middle + half * walk


def ou_actions(space: gym.spaces.Box, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig) -> np.ndarray:
    """Ornstein-Uhlenbeck noise: smooth, and biased towards ou_mean.

    Each episode's own mean is half a standard deviation off, so that some episodes are slow and some are fast.
    """
    middle, range_ = (space.high + space.low) / 2, space.high - space.low
    mean = per_action(rollouts.ou_mean, middle, "rollouts.ou_mean")
    sigma = per_action(rollouts.ou_sigma, range_ / 4, "rollouts.ou_sigma")
    mean = mean + 0.5 * sigma * rng.normal(size=mean.shape)
    keep = 1.0 - rollouts.ou_theta
    position, walk = mean + sigma * rng.normal(size=mean.shape), np.empty((steps, *space.shape))
    for t, noise in enumerate(rng.normal(0.0, np.sqrt(1.0 - keep**2), walk.shape)):
        position = mean + keep * (position - mean) + sigma * noise
        walk[t] = position
    return walk


def per_action(values: list[float], default: np.ndarray, key: str) -> np.ndarray:
    if values and len(values) != len(default):
        raise UserError(f"{key}: expected {len(default)} numbers, one an action, or none, found {len(values)}")
    return np.array(values) if values else default.astype(float)


POLICIES: dict[str, Callable[..., np.ndarray]] = {
    "random": random_actions,
    "brownian": brownian_actions,
    "ou": ou_actions,
}


def plan_actions(space: gym.spaces.Box, rollouts: RolloutsConfig, seed: int, episode: int) -> np.ndarray:
    """All actions of an episode, (seq_len, A) float32 inside the bounds."""
    rng = seeding.generator(seed, "rollouts/actions", episode)
    policy = rollouts.policy
    if policy == "mixture":
        weights = {name: weight for name, weight in sorted(rollouts.mixture.items()) if weight}
        unknown = sorted(set(weights) - set(POLICIES))
        if unknown or not weights or any(type(w) not in (int, float) or w < 0 for w in weights.values()):
            raise UserError(
                f"rollouts.mixture: expected positive weights of {', '.join(POLICIES)}, found {rollouts.mixture}"
            )
        policy = str(rng.choice(list(weights), p=np.array(list(weights.values())) / sum(weights.values())))
    actions = POLICIES[policy](space, rollouts.seq_len, rng, rollouts)
    return np.clip(actions, space.low, space.high).astype(np.float32)


def in_gymnasium(episode: int, share: float) -> bool:
    """Whether this episode is one of the share that gymnasium renders; they are spread evenly."""
    return int((episode + 1) * share) > int(episode * share)


def collect_shard(
    data_dir: str, env: EnvConfig, rollouts: RolloutsConfig, seed: int, shard: int, threads: int = 1
) -> dict:
    """Collect one shard's episodes into their files.

    Returns:
        The shard's summary: backend, versions, and of each file its digest, steps, return and renderer.
    """
    backend = choose_backend(env)
    files = dict(enumerate(shard_files(data_dir, shard, rollouts.shard_size), start=shard * rollouts.shard_size))
    groups: dict[str, list[int]] = {"envpool": [], "gymnasium": []}
    for episode in files:
        slow = backend == "gymnasium" or in_gymnasium(episode, rollouts.gymnasium_share)
        groups["gymnasium" if slow else "envpool"].append(episode)
    space = action_space(env)
    summary = {}
    for name, episodes in groups.items():
        # EnvPool's lanes are stepped at once; gymnasium gains nothing from that, so one at a time saves memory.
        for lanes in [episodes] if name == "envpool" and episodes else [[e] for e in episodes]:
            plans = [plan_actions(space, rollouts, seed, episode) for episode in lanes]
            seeds = [seeding.track_seed(seed, "rollouts", episode) for episode in lanes]
            for lane, episode_arrays in play(env, name, seeds, plans, threads):
                file = files[lanes[lane]]
                checkpoint.write_npz(file, episode_arrays, rollouts.compress)
                summary[Path(file).name] = {
                    "sha256": checkpoint.digest(file),
                    "steps": len(episode_arrays["rewards"]),
                    "return": round(float(episode_arrays["rewards"].sum()), 3),
                    "renderer": name,
                }
    return {"backend": backend, "versions": versions(backend), "episodes": dict(sorted(summary.items()))}


def play(env: EnvConfig, backend: str, seeds: list[int], plans: list[np.ndarray], threads: int):
    """Play planned actions in lanes; yields (lane, arrays of the episode) as the episodes end."""
    lanes = make_lanes(env, backend, seeds, threads)
    try:
        frames = lanes.reset()
        alive = np.arange(len(seeds))
        steps = len(plans[0])
        observations = [np.empty((steps, *frames.shape[1:]), np.uint8) for _ in seeds]
        rewards, terminals = np.zeros((len(seeds), steps), np.float32), np.zeros((len(seeds), steps), np.float32)
        for t in range(steps):
            for lane, frame in zip(alive, frames):
                observations[lane][t] = frame
            frames, reward, terminated, truncated = lanes.step(alive, np.stack([plans[lane][t] for lane in alive]))
            rewards[alive, t], terminals[alive, t] = reward, terminated
            done = terminated | truncated | (t + 1 == steps)
            for lane in alive[done]:
                yield (
                    lane,
                    {
                        "observations": observations[lane][: t + 1],
                        "actions": plans[lane][: t + 1],
                        "rewards": rewards[lane, : t + 1],
                        "terminals": terminals[lane, : t + 1],
                        "seed": np.int64(seeds[lane]),
                    },
                )
                observations[lane] = np.empty(0, np.uint8)
            alive, frames = alive[~done], frames[~done]
            if not len(alive):
                break
    finally:
        lanes.close()


def generate_rollouts(
    data_dir: str,
    env_name: str = "CarRacing-v3",
    num_rollouts: int = 1000,
    seq_len: int = 1000,
    num_workers: int = 1,
    seed: int = 1,
    env: EnvConfig | None = None,
    rollouts: RolloutsConfig | None = None,
) -> list[dict]:
    """Collect rollouts on this machine, shards side by side in num_workers processes.

    Args:
        data_dir: where the files go.
        env, rollouts: settings beyond the plain arguments, which they replace.

    Returns:
        The summaries of the shards, see collect_shard.
    """
    env = env or EnvConfig(id=env_name)
    size = min(32, num_rollouts)
    rollouts = rollouts or RolloutsConfig(num_rollouts=num_rollouts, shard_size=size, seq_len=seq_len)
    shards = range(num_shards(rollouts.num_rollouts, rollouts.shard_size))
    if num_workers == 1:
        return [collect_shard(data_dir, env, rollouts, seed, shard) for shard in shards]
    with workers(num_workers) as pool:
        return list(pool.map(collect_shard, *zip(*((data_dir, env, rollouts, seed, shard) for shard in shards))))
