#!/usr/bin/env python
"""Rollouts, steps/s: shards of episodes to files on disk, against EnvPool alone and gymnasium frame by frame.

    python bench/rollouts.py

The worker processes are started before the clock, as they are once for many shards.
"""

import tempfile
import time
from concurrent.futures import Executor
from dataclasses import replace
from itertools import count
from pathlib import Path

import baselines
import common
from common import Goal

from worldmodels.data.collection import collect_shard
from worldmodels.envs.backends import choose_backend
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.workers import worker_pool

ENV = EnvConfig()
SHARDS = count()  # every measurement collects other episodes
ANY = 10**9  # rollouts.num_rollouts, so that no number of a shard is too high
SIZES: dict[bool, float] = {}  # bytes a step on disk, compressed or not


def ours(pool: Executor, processes: int, rollouts: RolloutsConfig) -> float:
    """Steps/s of one shard a process."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        jobs = [pool.submit(collect_shard, folder, ENV, rollouts, 1, next(SHARDS)) for _ in range(processes)]
        steps = sum(episode["steps"] for job in jobs for episode in job.result()["episodes"].values())
        elapsed = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(folder).glob("*.npz"))
        SIZES[rollouts.compress] = size / steps
        return steps / elapsed


def frame_by_frame(pool: Executor, processes: int, steps: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        jobs = [pool.submit(baselines.collect, seed, steps, folder) for seed in range(processes)]
        return sum(job.result() for job in jobs) / (time.perf_counter() - start)


def main(args) -> None:
    backend, cores = choose_backend(ENV), args.threads
    shard = RolloutsConfig(num_rollouts=ANY, shard_size=args.episodes, seq_len=args.steps, gymnasium_share=0.0)
    # Of the mixed rollouts, as many episodes in gymnasium as the default has.
    mixed = replace(shard, gymnasium_share=RolloutsConfig().gymnasium_share)
    with worker_pool(cores) as pool:
        ours(pool, cores, replace(shard, shard_size=1, seq_len=10))  # the workers import everything
        methods = {
            f"{backend} alone": lambda: common.environment_rate(ENV, backend, cores),
            "ours, compressed": lambda: ours(pool, cores, shard),
            "ours, not compressed": lambda: ours(pool, cores, replace(shard, compress=False)),
            "ours, an eighth in gymnasium": lambda: ours(pool, cores, mixed),
            "gymnasium frame by frame": lambda: frame_by_frame(pool, cores, args.steps // 4),
        }
        rates = common.alternate(methods, args.rounds)
    goals = [
        Goal("ours, compressed", f"{backend} alone", 0.85),
        Goal("ours, compressed", "gymnasium frame by frame", 6),
    ]
    sizes = {"compressed" if packed else "not compressed": size for packed, size in SIZES.items()}
    common.report(args, "Rollouts: collection", "steps/s", rates, f"{backend} alone", goals, bytes_a_step=sizes)
    print("  bytes a step on disk: " + ", ".join(f"{size:,.0f} {kind}" for kind, size in sizes.items()))


if __name__ == "__main__":
    made = common.parser(__doc__)
    made.add_argument("--episodes", type=int, default=16, help="episodes a shard (default: %(default)s)")
    made.add_argument("--steps", type=int, default=300, help="steps an episode (default: %(default)s)")
    common.main(made, main)
