"""Rollouts: episodes under random policies or an earlier run's agent, one .npz file an episode.

Every episode is made from the run's seed and its own number alone, so the files are the same whatever the
number of shards or cores.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import gymnasium as gym
import numpy as np
import torch

from worldmodels import checkpoint, cli, locks, preflight, seeding, settings
from worldmodels.actions import ActionCodec
from worldmodels.config import EnvConfig, RolloutsConfig, num_shards, shard_files, shard_name
from worldmodels.envs import EnvPoolLanes, GymnasiumLanes, choose_backend, describe, make_lanes, tell_backend, versions
from worldmodels.instances import Instances, action_space
from worldmodels.settings import UserError
from worldmodels.workers import workers

DARK = 16  # of 255: pictures without a brighter pixel are nearly black


def random_actions(codec: ActionCodec, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig) -> np.ndarray:
    """Uniform and independent: action_space.sample()."""
    codec.space.seed(int(rng.integers(2**31)))
    return np.stack([codec.encode(codec.space.sample()) for _ in range(steps)])


def brownian_actions(codec: ActionCodec, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig) -> np.ndarray:
    """A random walk from the middle of the bounds, kept inside them; a step is a tenth of the range."""
    position, walk = np.zeros(codec.size), np.empty((steps, codec.size))
    for t, step in enumerate(rng.normal(0.0, 0.2, walk.shape)):
        position = np.clip(position + step, -1.0, 1.0)
        walk[t] = position
    return codec.middle + codec.reach * walk


def ou_actions(codec: ActionCodec, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig) -> np.ndarray:
    """Ornstein-Uhlenbeck noise: smooth, and biased towards ou_mean.

    Each episode's own mean is half a standard deviation off, so that some episodes are slow and some are fast.
    """
    mean = per_action(rollouts.ou_mean, codec.middle, "rollouts.ou_mean")
    sigma = per_action(rollouts.ou_sigma, codec.reach / 2, "rollouts.ou_sigma")
    mean = mean + 0.5 * sigma * rng.normal(size=mean.shape)
    return mean + sigma * walk_noise(rng, steps, len(mean), rollouts.ou_theta)


def walk_noise(rng: np.random.Generator, steps: int, size: int, theta: float) -> np.ndarray:
    """Ornstein-Uhlenbeck noise (steps, size) around 0 with standard deviation 1; theta is what a step forgets."""
    keep = 1.0 - theta
    position, walk = rng.normal(size=size), np.empty((steps, size))
    for t, noise in enumerate(rng.normal(0.0, np.sqrt(1.0 - keep**2), walk.shape)):
        position = keep * position + noise
        walk[t] = position
    return walk


def check_noise(rollouts: RolloutsConfig, codec: ActionCodec) -> None:
    """Raise UserError if ou_mean or ou_sigma does not suit the actions: not only at the first episode under ou."""
    per_action(rollouts.ou_mean, codec.middle, "rollouts.ou_mean")
    per_action(rollouts.ou_sigma, codec.reach, "rollouts.ou_sigma")


def per_action(values: list[float], default: np.ndarray, key: str) -> np.ndarray:
    if values and len(values) != len(default):
        raise UserError(f"{key}: expected {len(default)} numbers, one an action, or none, found {len(values)}")
    return np.array(values) if values else default.astype(float)


POLICIES: dict[str, Callable[..., np.ndarray]] = {
    "random": random_actions,
    "brownian": brownian_actions,
    "ou": ou_actions,
}


def draw_policy(rollouts: RolloutsConfig, rng: np.random.Generator) -> str:
    """The name of an episode's policy."""
    if rollouts.policy != "mixture":
        return rollouts.policy
    weights = {name: weight for name, weight in sorted(rollouts.mixture.items()) if weight}
    return str(rng.choice(list(weights), p=np.array(list(weights.values())) / sum(weights.values())))


def plan_actions(space: gym.Space, rollouts: RolloutsConfig, seed: int, episode: int) -> np.ndarray:
    """All actions of an episode under a policy that looks at nothing, (seq_len, A) float32, encoded: ActionCodec."""
    rng, codec = seeding.generator(seed, "rollouts/actions", episode), ActionCodec(space)
    actions = POLICIES[draw_policy(rollouts, rng)](codec, rollouts.seq_len, rng, rollouts)
    return codec.snap(torch.from_numpy(actions)).float().numpy()


class Driver(Protocol):
    """Who drives an episode."""

    def act(self, step: int, frame: np.ndarray) -> np.ndarray:
        """The encoded action (A,) float32 on seeing this frame (H,W,C) uint8."""


class Planned:
    """Drives by a plan, without looking."""

    def __init__(self, actions: np.ndarray) -> None:
        self.actions = actions

    def act(self, step: int, frame: np.ndarray) -> np.ndarray:
        return self.actions[step]


class Agent(Protocol):
    """An earlier run's agent; see on_policy.EarlierAgent."""

    record: dict  # what it is and how many environment steps it cost, for the shard's summary

    def driver(self, space: gym.Space, noise: np.ndarray) -> Driver:
        """One episode of it, with noise (seq_len, A) added to its actions."""


def make_driver(space: gym.Space, rollouts: RolloutsConfig, seed: int, episode: int, agent: Agent | None) -> Driver:
    """The driver of an episode.

    The agent's noise is Ornstein-Uhlenbeck noise around 0 with sigma ou_sigma times the episode's own share of
    agent_noise, so that some episodes are clean and others get into trouble, which V and M should know too.
    """
    rng = seeding.generator(seed, "rollouts/actions", episode)
    if draw_policy(rollouts, rng) != "agent":
        return Planned(plan_actions(space, rollouts, seed, episode))
    if agent is None:
        raise UserError("rollouts.agent: expected the logdir of an earlier run, whose agent is to drive, found none")
    sigma = per_action(rollouts.ou_sigma, ActionCodec(space).reach / 2, "rollouts.ou_sigma")
    noise = walk_noise(rng, rollouts.seq_len, len(sigma), rollouts.ou_theta)
    return agent.driver(space, rng.uniform(0, rollouts.agent_noise) * sigma * noise)


def in_gymnasium(episode: int, share: float) -> bool:
    """Whether this episode is one of the share that gymnasium renders; they are spread evenly."""
    return int((episode + 1) * share) > int(episode * share)


def collect_shard(
    data_dir: str,
    env: EnvConfig,
    rollouts: RolloutsConfig,
    seed: int,
    shard: int,
    threads: int = 1,
    load_agent: Callable[[str], Agent] | None = None,
    origin: dict | None = None,
) -> dict:
    """Collect one shard's episodes into their files; its summary goes beside them, as <shard>.json.

    The last shard has the episodes that are left of num_rollouts.

    Args:
        load_agent: gives the agent of rollouts.agent, a logdir; without it no episode can have the policy `agent`.
        origin: what the summary says of where the shard comes from, see cli.origin.

    Returns:
        The summary: backend, versions, the agent if there is one, the action space, and of each file its digest, steps,
        return and renderer.
    """
    agent = load_agent(rollouts.agent) if load_agent and rollouts.agent else None
    backend = choose_backend(env)
    first, size = shard * rollouts.shard_size, rollouts.shard_size
    files = dict(enumerate(shard_files(data_dir, shard, size)[: max(0, rollouts.num_rollouts - first)], start=first))
    groups: dict[str, list[int]] = {"envpool": [], "gymnasium": []}
    for episode in files:
        slow = backend == "gymnasium" or in_gymnasium(episode, rollouts.gymnasium_share)
        groups["gymnasium" if slow else "envpool"].append(episode)
    episodes_made = {}
    instances = Instances(env)
    for name, episodes in groups.items():
        # EnvPool's lanes are stepped at once; gymnasium gains nothing from that, so one at a time saves memory.
        for lanes in [episodes] if name == "envpool" and episodes else [[e] for e in episodes]:
            drivers = [make_driver(instances.space, rollouts, seed, episode, agent) for episode in lanes]
            seeds = [seeding.track_seed(seed, "rollouts", episode) for episode in lanes]
            played = play(make_lanes(env, name, seeds, threads, instances), drivers, rollouts.seq_len)
            for lane, episode_arrays in played:
                file = files[lanes[lane]]
                checkpoint.write_npz(file, episode_arrays, rollouts.compress)
                episodes_made[Path(file).name] = {
                    "sha256": checkpoint.digest(file),
                    "steps": len(episode_arrays["rewards"]),
                    "return": round(float(episode_arrays["rewards"].sum()), 3),
                    "renderer": name,
                    **light(episode_arrays["observations"]),
                }
    instances.close()
    summary = {"backend": backend, "versions": versions(backend), "episodes": dict(sorted(episodes_made.items()))}
    summary["action_space"] = preflight.record(instances.codec.summary, env)
    if agent:
        summary["agent"] = agent.record
    summary |= origin or {}
    checkpoint.write_json(Path(data_dir) / f"{shard_name(shard)}.json", summary)
    return summary


def light(observations: np.ndarray) -> dict[str, int]:
    """The brightest of an episode's pixels, and the largest change of a pixel, over a hundred frames or so."""
    some = observations[:: max(1, len(observations) // 100)]
    return {"brightest": int(some.max()), "largest_change": int(np.ptp(some, axis=0).max())}


def tell_light(episodes: list[dict], env: EnvConfig) -> None:
    """Log that the pictures of all episodes are nearly black, or that they never change."""
    if max(episode["brightest"] for episode in episodes) < DARK:
        value = max(episode["brightest"] for episode in episodes)
        text = f"are nearly black: the brightest pixel is {value} of 255"
    elif not max(episode["largest_change"] for episode in episodes):
        text = "never change within an episode"
    else:
        return
    advice = "" if env.frames == "render" else "; if the observations are no pictures, set env.frames: render"
    cli.log.warning("rollouts: the pictures of %s %s%s", env.id, text, advice)


def collect_alone(data_dir: str, env: EnvConfig, rollouts: RolloutsConfig, seed: int, shard: int, *more) -> dict:
    """Collect one shard as `collect_shard` does, while no other process may collect the same."""
    checkpoint.prepare_folder(data_dir)
    with locks.claimed(data_dir, f"shard_{shard_name(shard)}"):
        locks.remove_leftovers(data_dir)
        return collect_shard(data_dir, env, rollouts, seed, shard, *more)


def play(lanes: GymnasiumLanes | EnvPoolLanes, drivers: list[Driver], steps: int) -> Iterator[tuple[int, dict]]:
    """Play episodes of at most `steps` in lanes; yields (lane, arrays of the episode) as they end."""
    seeds = lanes.seeds
    try:
        frames = lanes.reset()
        alive = np.arange(len(seeds))
        observations = [np.empty((steps, *frames.shape[1:]), np.uint8) for _ in seeds]
        actions: list[list[np.ndarray]] = [[] for _ in seeds]
        rewards, terminals = np.zeros((len(seeds), steps), np.float32), np.zeros((len(seeds), steps), np.float32)
        for t in range(steps):
            for lane, frame in zip(alive, frames):
                observations[lane][t] = frame
                actions[lane].append(drivers[lane].act(t, frame))
            taken = np.stack([actions[lane][t] for lane in alive])
            frames, reward, terminated, truncated = lanes.step(alive, taken)
            rewards[alive, t], terminals[alive, t] = reward, terminated
            done = terminated | truncated | (t + 1 == steps)
            for lane in alive[done]:
                yield (
                    lane,
                    {
                        "observations": observations[lane][: t + 1],
                        "actions": np.stack(actions[lane]),
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
    load_agent: Callable[[str], Agent] | None = None,
) -> list[dict]:
    """Collect rollouts on this machine, shards side by side in num_workers processes.

    Args:
        data_dir: where the files go.
        num_rollouts: episodes to collect, one file each.
        env, rollouts: settings beyond the plain arguments, which they replace.

    Returns:
        The summaries of the shards, see collect_shard.
    """
    env = env or EnvConfig(id=env_name)
    of_env = {"env_name": env.id, "env_kwargs": env.kwargs}
    rollouts = rollouts or RolloutsConfig(num_rollouts=num_rollouts, seq_len=seq_len, **of_env)
    shards = range(num_shards(rollouts.num_rollouts, rollouts.shard_size))
    with workers(max(1, min(num_workers, len(shards)))) as pool:
        arguments = ((data_dir, env, rollouts, seed, shard, 1, load_agent) for shard in shards)
        jobs = [pool.submit(collect_alone, *each) for each in arguments]
        return [job.result() for job in cli.progress(jobs, "rollouts")]


def run(args: argparse.Namespace, load_agent: Callable[[str], Agent] | None = None) -> None:
    """The body of the programs that collect rollouts: the shard that the flags ask for, or all."""
    run = cli.run_config(args)
    env = settings.from_args(args, EnvConfig)
    rollouts = settings.from_args(args, RolloutsConfig, env_name=env.id, env_kwargs=env.kwargs)
    codec = ActionCodec(action_space(env))
    preflight.check_flag(args.controller, codec.summary)
    check_noise(rollouts, codec)
    checkpoint.prepare_folder(run.data_dir)
    tell_backend(env)
    shards = num_shards(rollouts.num_rollouts, rollouts.shard_size)
    if args.shard is not None and not 0 <= args.shard < shards:
        raise UserError(
            f"--shard: expected 0 to {shards - 1}, since --num-rollouts is {rollouts.num_rollouts} and --shard-size "
            f"{rollouts.shard_size}, found {args.shard}"
        )
    if args.shard is not None:
        models = [f"{rollouts.agent}/{stage}/best.json" for stage in ("vae", "mdrnn", "ctrl")] if load_agent else []
        origin = cli.origin(args, models)
        summaries = [collect_alone(run.data_dir, env, rollouts, run.seed, args.shard, args.threads, load_agent, origin)]
    else:
        more = {"env": env, "rollouts": rollouts, "load_agent": load_agent}
        summaries = generate_rollouts(run.data_dir, num_workers=args.threads, seed=run.seed, **more)
    episodes = [episode for summary in summaries for episode in summary["episodes"].values()]
    cli.log.info(
        "rollouts: %d episodes of %s, %d steps, mean return %.1f, in %s",
        len(episodes),
        describe(env),
        sum(episode["steps"] for episode in episodes),
        sum(episode["return"] for episode in episodes) / len(episodes),
        run.data_dir,
    )
    tell_light(episodes, env)
