"""Rollouts: episodes under random policies or an earlier run's agent, one .npz file an episode.

Every episode is made from the run's seed and its own number alone, so the files are the same whatever the
number of shards or cores.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from worldmodels.data.policies import Agent, Driver, check_noise, make_driver
from worldmodels.envs import seeding
from worldmodels.envs.backends import choose_backend, describe_env, log_backend, package_versions
from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import EnvPoolLanes, GymnasiumLanes, make_lanes
from worldmodels.runtime import locks, preflight
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.identity import product_origin
from worldmodels.runtime.log import log
from worldmodels.runtime.paths import num_shards, shard_files, shard_name
from worldmodels.runtime.program import run_config_from_args
from worldmodels.runtime.progress import progress
from worldmodels.runtime.workers import worker_pool
from worldmodels.storage.files import prepare_folder, write_json
from worldmodels.storage.npz import write_npz

DARK = 16  # of 255: pictures without a brighter pixel are nearly black


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
    instances: Instances | None = None,
) -> dict:
    """Collect one shard's episodes into their files; its summary goes beside them, as <shard>.json.

    The last shard has the episodes that are left of num_rollouts.

    Args:
        load_agent: gives the agent of rollouts.agent, a logdir; without it no episode can have the policy `agent`.
        origin: what the summary says of where the shard comes from, see cli.origin.
        instances: the environments to play in, which are closed at the end; by default their own.

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
    instances = instances or Instances(env)
    for name, episodes in groups.items():
        # EnvPool's lanes are stepped at once; gymnasium gains nothing from that, so one at a time saves memory.
        for lanes in [episodes] if name == "envpool" and episodes else [[e] for e in episodes]:
            drivers = [make_driver(instances.space, rollouts, seed, episode, agent) for episode in lanes]
            seeds = [seeding.track_seed(seed, "rollouts", episode) for episode in lanes]
            played = play_drivers(make_lanes(env, name, seeds, threads, instances), drivers, rollouts.seq_len)
            for lane, episode_arrays in played:
                file = files[lanes[lane]]
                write_npz(file, episode_arrays, rollouts.compress)
                episodes_made[Path(file).name] = {
                    "sha256": file_digest(file),
                    "steps": len(episode_arrays["rewards"]),
                    "return": round(float(episode_arrays["rewards"].sum()), 3),
                    "renderer": name,
                    **brightness(episode_arrays["observations"]),
                }
    instances.close()
    summary = {
        "backend": backend,
        "versions": package_versions(backend),
        "episodes": dict(sorted(episodes_made.items())),
    }
    summary["action_space"] = preflight.recorded_actions(instances.codec.summary, env)
    if agent:
        summary["agent"] = agent.record
    summary |= origin or {}
    write_json(Path(data_dir) / f"{shard_name(shard)}.json", summary)
    return summary


def brightness(observations: np.ndarray) -> dict[str, int]:
    """The brightest of an episode's pixels, and the largest change of a pixel, over a hundred frames or so."""
    some = observations[:: max(1, len(observations) // 100)]
    return {"brightest": int(some.max()), "largest_change": int(np.ptp(some, axis=0).max())}


def warn_about_pictures(episodes: list[dict], env: EnvConfig) -> None:
    """Log that the pictures of all episodes are nearly black, or that they never change."""
    if max(episode["brightest"] for episode in episodes) < DARK:
        value = max(episode["brightest"] for episode in episodes)
        text = f"are nearly black: the brightest pixel is {value} of 255"
    elif not max(episode["largest_change"] for episode in episodes):
        text = "never change within an episode"
    else:
        return
    advice = "" if env.frames == "render" else "; if the observations are no pictures, set env.frames: render"
    log.warning("rollouts: the pictures of %s %s%s", env.id, text, advice)


def collect_claimed_shard(
    data_dir: str, env: EnvConfig, rollouts: RolloutsConfig, seed: int, shard: int, *more
) -> dict:
    """Collect one shard as `collect_shard` does, while no other process may collect the same."""
    prepare_folder(data_dir)
    with locks.claimed(data_dir, f"shard_{shard_name(shard)}"):
        locks.remove_leftovers(data_dir)
        return collect_shard(data_dir, env, rollouts, seed, shard, *more)


def play_drivers(lanes: GymnasiumLanes | EnvPoolLanes, drivers: list[Driver], steps: int) -> Iterator[tuple[int, dict]]:
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
    with worker_pool(max(1, min(num_workers, len(shards)))) as pool:
        arguments = ((data_dir, env, rollouts, seed, shard, 1, load_agent) for shard in shards)
        jobs = [pool.submit(collect_claimed_shard, *each) for each in arguments]
        return [job.result() for job in progress(jobs, "rollouts")]


def collect_from_args(args: argparse.Namespace, load_agent: Callable[[str], Agent] | None = None) -> None:
    """The body of the programs that collect rollouts: the shard that the flags ask for, or all."""
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    rollouts = section_from_args(args, RolloutsConfig, env_name=env.id, env_kwargs=env.kwargs)
    instances = Instances(env)
    preflight.check_controller_flag(args.controller, instances.codec.summary)
    check_noise(rollouts, instances.codec)
    prepare_folder(run.data_dir)
    log_backend(env)
    shards = num_shards(rollouts.num_rollouts, rollouts.shard_size)
    if args.shard is not None and not 0 <= args.shard < shards:
        raise UserError(
            f"--shard: expected 0 to {shards - 1}, since --num-rollouts is {rollouts.num_rollouts} and --shard-size "
            f"{rollouts.shard_size}, found {args.shard}"
        )
    if args.shard is not None:
        models = [f"{rollouts.agent}/{stage}/best.json" for stage in ("vae", "mdrnn", "ctrl")] if load_agent else []
        origin = product_origin(args, models)
        more = args.threads, load_agent, origin, instances
        summaries = [collect_claimed_shard(run.data_dir, env, rollouts, run.seed, args.shard, *more)]
    else:
        instances.close()  # before the workers make theirs: some simulators allow one at a time
        settings_of_all = {"env": env, "rollouts": rollouts, "load_agent": load_agent}
        summaries = generate_rollouts(run.data_dir, num_workers=args.threads, seed=run.seed, **settings_of_all)
    episodes = [episode for summary in summaries for episode in summary["episodes"].values()]
    log.info(
        "rollouts: %d episodes of %s, %d steps, mean return %.1f, in %s",
        len(episodes),
        describe_env(env),
        sum(episode["steps"] for episode in episodes),
        sum(episode["return"] for episode in episodes) / len(episodes),
        run.data_dir,
    )
    warn_about_pictures(episodes, env)
