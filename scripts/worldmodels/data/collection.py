"""Rollouts: episodes under random policies or an earlier run's agent, one .npz file per episode.

An episode depends only on the run's seed and its own number. So the files are the same for any number of shards or
cores.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.data.policies import Agent, check_noise, make_driver
from worldmodels.data.recording import record_episodes
from worldmodels.data.shards import (
    check_shard_flag,
    log_episodes,
    summarize_episode,
    warn_about_pictures,
)
from worldmodels.envs import seeding
from worldmodels.envs.backends import choose_backend, log_backend, package_versions
from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import make_lanes
from worldmodels.runtime import locks, preflight
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.identity import product_origin
from worldmodels.runtime.paths import num_shards, shard_episodes, shard_files, shard_name
from worldmodels.runtime.program import run_config_from_args
from worldmodels.runtime.progress import progress
from worldmodels.runtime.workers import worker_pool
from worldmodels.storage.files import prepare_folder, write_json
from worldmodels.storage.npz import write_npz

MakeAgent = Callable[[str], Agent]  # from the logdir of an earlier run


def collect_shard(
    data_dir: str,
    env: EnvConfig,
    rollouts: RolloutsConfig,
    seed: int,
    shard: int,
    threads: int = 1,
    make_agent: MakeAgent | None = None,
    origin: dict | None = None,
    instances: Instances | None = None,
) -> dict:
    """Collect the episodes of one shard, and write its summary, <shard>.json, beside their files.

    Args:
        data_dir: folder of the files.
        env: the environment.
        rollouts: the settings of the rollouts.
        seed: of the run.
        shard: number of the shard.
        threads: that step EnvPool's environments.
        make_agent: loads the agent of rollouts.agent. Without it no episode can have the policy `agent`.
        origin: goes into the summary, see product_origin.
        instances: environments to play in, which are closed at the end. By default the shard makes its own.

    Returns:
        The summary: backend, versions, the agent if there is one, the action space, and the digest, steps, return,
        renderer and brightness of each file.

    Raises:
        UserError: the environment or the agent is missing or wrong.
    """
    agent = make_agent(rollouts.agent) if make_agent and rollouts.agent else None
    backend = choose_backend(env)
    instances = instances or Instances(env)
    episodes = shard_episodes(shard, rollouts.shard_size, rollouts.num_rollouts)
    files = dict(zip(episodes, shard_files(data_dir, shard, rollouts.shard_size)))
    batches = split_episodes(episodes, backend, rollouts.gymnasium_share)
    summaries = {}
    for episode, renderer, arrays in play_batches(batches, env, rollouts, seed, threads, agent, instances):
        file = files[episode]
        write_npz(file, arrays, rollouts.compress)
        summaries[Path(file).name] = summarize_episode(file, renderer, arrays)
    instances.close()
    summary = {
        "backend": backend,
        "versions": package_versions(backend),
        "episodes": dict(sorted(summaries.items())),
        "action_space": preflight.recorded_actions(instances.codec.summary, env),
    }
    if agent:
        summary["agent"] = agent.record
    summary |= origin or {}
    write_json(Path(data_dir) / f"{shard_name(shard)}.json", summary)
    return summary


def split_episodes(episodes: range, backend: str, gymnasium_share: float) -> list[tuple[str, list[int]]]:
    """Split episodes into batches, each with its renderer, `envpool` or `gymnasium`.

    EnvPool steps all its episodes together. Gymnasium plays one at a time: more would not be faster and take memory.
    """
    in_gymnasium = [e for e in episodes if backend == "gymnasium" or is_gymnasium_episode(e, gymnasium_share)]
    in_envpool = [e for e in episodes if e not in in_gymnasium]
    batches = [("gymnasium", [episode]) for episode in in_gymnasium]
    return [("envpool", in_envpool), *batches] if in_envpool else batches


def is_gymnasium_episode(episode: int, share: float) -> bool:
    """Return whether gymnasium renders this episode, so that its share of the episodes is spread evenly."""
    return int((episode + 1) * share) > int(episode * share)


def play_batches(
    batches: list[tuple[str, list[int]]],
    env: EnvConfig,
    rollouts: RolloutsConfig,
    seed: int,
    threads: int,
    agent: Agent | None,
    instances: Instances,
) -> Iterator[tuple[int, str, dict[str, np.ndarray]]]:
    """Play batches of episodes, see split_episodes.

    Args:
        batches: renderer and numbers of the episodes of each.
        env: the environment.
        rollouts: the settings of the rollouts.
        seed: of the run.
        threads: that step EnvPool's environments.
        agent: drives the episodes of the policy `agent`.
        instances: gymnasium's environments.

    Yields:
        Number, renderer and arrays of each episode when it ends, see Recording.
    """
    for renderer, episodes in batches:
        drivers = [make_driver(instances.space, rollouts, seed, episode, agent) for episode in episodes]
        seeds = [seeding.track_seed(seed, "rollouts", episode) for episode in episodes]
        lanes = make_lanes(env, renderer, seeds, threads, instances)
        for lane, arrays in record_episodes(lanes, drivers, rollouts.seq_len):
            yield episodes[lane], renderer, arrays


def collect_claimed_shard(data_dir: str, shard: int, **settings: Any) -> dict:
    """Claim one shard, so that no other process collects it at the same time, and collect it.

    Args:
        data_dir: folder of the files. It is created if necessary.
        shard: number of the shard.
        settings: the further arguments of collect_shard.

    Returns:
        The summary of the shard.
    """
    prepare_folder(data_dir)
    with locks.claimed(data_dir, f"shard_{shard_name(shard)}"):
        locks.remove_leftovers(data_dir)
        return collect_shard(data_dir, shard=shard, **settings)


def generate_rollouts(
    data_dir: str,
    env_name: str = "CarRacing-v3",
    num_rollouts: int = 1000,
    seq_len: int = 1000,
    num_workers: int = 1,
    seed: int = 1,
    env: EnvConfig | None = None,
    rollouts: RolloutsConfig | None = None,
    make_agent: MakeAgent | None = None,
) -> list[dict]:
    """Collect rollouts on this machine, shards side by side in worker processes.

    Args:
        data_dir: folder of the files.
        env_name: id of the environment.
        num_rollouts: episodes to collect, one file each.
        seq_len: length of the longest episode, steps.
        num_workers: processes, at most one per shard.
        seed: of the run.
        env: all settings of the environment, instead of env_name.
        rollouts: all settings of the rollouts, instead of num_rollouts and seq_len.
        make_agent: see collect_shard.

    Returns:
        The summaries of the shards, see collect_shard.
    """
    env = env or EnvConfig(id=env_name)
    rollouts = rollouts or RolloutsConfig(
        num_rollouts=num_rollouts, seq_len=seq_len, env_name=env.id, env_kwargs=env.kwargs
    )
    settings = {"env": env, "rollouts": rollouts, "seed": seed, "make_agent": make_agent}
    shards = range(num_shards(rollouts.num_rollouts, rollouts.shard_size))
    with worker_pool(max(1, min(num_workers, len(shards)))) as pool:
        jobs = [pool.submit(collect_claimed_shard, data_dir, shard, **settings) for shard in shards]
        return [job.result() for job in progress(jobs, "rollouts")]


def collect_from_args(args: argparse.Namespace, make_agent: MakeAgent | None = None) -> None:
    """Collect the shard that the flags name, or all shards. This is the body of both programs that collect rollouts.

    Args:
        args: the flags.
        make_agent: see collect_shard.

    Raises:
        UserError: a flag or the environment is wrong.
    """
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    rollouts = section_from_args(args, RolloutsConfig, env_name=env.id, env_kwargs=env.kwargs)
    instances = Instances(env)
    preflight.check_controller_flag(args.controller, instances.codec.summary)
    check_noise(rollouts, instances.codec)
    prepare_folder(run.data_dir)
    log_backend(env)
    check_shard_flag(args.shard, rollouts)
    settings = {"env": env, "rollouts": rollouts, "seed": run.seed, "make_agent": make_agent}
    if args.shard is None:
        instances.close()  # before the workers make their environments: some simulators allow one at a time
        summaries = generate_rollouts(run.data_dir, num_workers=args.threads, **settings)
    else:
        models = [f"{rollouts.agent}/{stage}/best.json" for stage in ("vae", "mdrnn", "ctrl")] if make_agent else []
        settings |= {"threads": args.threads, "origin": product_origin(args, models), "instances": instances}
        summaries = [collect_claimed_shard(run.data_dir, args.shard, **settings)]
    episodes = [episode for summary in summaries for episode in summary["episodes"].values()]
    log_episodes(episodes, env, run.data_dir)
    warn_about_pictures(episodes, env)
