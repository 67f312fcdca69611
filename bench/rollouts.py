"""Measure the collection of rollouts, steps/s: shards of episodes to files, EnvPool alone, gymnasium frame by frame.

    python -m bench.rollouts

Workers are started before the clock: in a run they are started once for many shards.
"""

import tempfile
import time
from argparse import Namespace
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from bench import baselines, measure, program
from bench.report import Goal, report
from worldmodels.data.collection import collect_shard
from worldmodels.envs.backends import choose_backend
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.workers import worker_pool

ENV = EnvConfig()
SHARDS = count()  # Every measurement collects shards of its own.
MANY_ROLLOUTS = 10**9  # rollouts.num_rollouts, so that no shard's number is too high

Sizes = dict[bool, float]  # rollouts.compress -> bytes per step on disk


def main(args: Namespace) -> None:
    backend, cores = choose_backend(ENV), args.threads
    config = RolloutsConfig(
        num_rollouts=MANY_ROLLOUTS, shard_size=args.episodes, seq_len=args.steps, gymnasium_share=0.0
    )
    mixed = replace(config, gymnasium_share=RolloutsConfig().gymnasium_share)
    sizes: Sizes = {}
    with worker_pool(cores) as pool:
        collect_shards(pool, cores, replace(config, shard_size=1, seq_len=10), {})  # The workers import everything.
        methods = {
            f"{backend} alone": partial(measure.environment_rate, ENV, backend, cores),
            "ours, compressed": partial(collect_shards, pool, cores, config, sizes),
            "ours, not compressed": partial(collect_shards, pool, cores, replace(config, compress=False), sizes),
            "ours, an eighth in gymnasium": partial(collect_shards, pool, cores, mixed, sizes),
            "gymnasium frame by frame": partial(collect_frame_by_frame, pool, cores, args.steps // 4),
        }
        rates = measure.alternate(methods, args.rounds)
    goals = [
        Goal("ours, compressed", f"{backend} alone", 0.85),
        Goal("ours, compressed", "gymnasium frame by frame", 6),
    ]
    bytes_per_step = {"compressed" if compressed else "not compressed": size for compressed, size in sizes.items()}
    report(args, "Rollouts: collection", "steps/s", rates, f"{backend} alone", goals, bytes_per_step=bytes_per_step)
    print("  bytes per step on disk: " + ", ".join(f"{size:,.0f} {name}" for name, size in bytes_per_step.items()))


def collect_shards(pool: Executor, processes: int, config: RolloutsConfig, sizes: Sizes) -> float:
    """Return the steps/s of one shard per process, and note the size of the files."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        jobs = [pool.submit(collect_shard, folder, ENV, config, 1, next(SHARDS)) for _ in range(processes)]
        steps = sum(episode["steps"] for job in jobs for episode in job.result()["episodes"].values())
        elapsed = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(folder).glob("*.npz"))
    sizes[config.compress] = size / steps
    return steps / elapsed


def collect_frame_by_frame(pool: Executor, processes: int, steps: int) -> float:
    """Return the steps/s of one plain episode per process."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        jobs = [pool.submit(baselines.collect, seed, steps, folder) for seed in range(processes)]
        return sum(job.result() for job in jobs) / (time.perf_counter() - start)


if __name__ == "__main__":
    parser = program.make_parser(__doc__)
    parser.add_argument("--episodes", type=int, default=16, help="episodes per shard (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="steps per episode (default: %(default)s)")
    program.run_benchmark(parser, main)
