"""Measure the evaluation of controllers, steps/s: environment, V, M and C for a population.

    python -m bench.controller --logdir results/carracing

The rows: generations around the trained controller, played as in training; the environment alone; and one agent per
process in gymnasium, frame by frame.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count

import numpy as np
import torch

from bench import baselines, measure, program
from bench.report import Goal, report
from worldmodels.envs import seeding
from worldmodels.envs.backends import choose_backend
from worldmodels.models.controller import flatten_parameters
from worldmodels.playing.agent import load_agent
from worldmodels.playing.workers import start_player
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.workers import worker_pool
from worldmodels.search.environment_player import EnvironmentPlayer
from worldmodels.search.evaluator import Evaluator, share_cores

ENV = EnvConfig()
TRACKS = count(10_000)  # Every measurement plays a track of its own.


def main(args: Namespace) -> None:
    backend, cores = choose_backend(ENV), args.threads
    candidates = draw_population(args.logdir, args.sigma)
    with ExitStack() as stack:
        methods = {f"{backend} alone": lambda: measure.environment_rate(ENV, backend, cores)}
        for lanes in args.lanes:
            config = WMControllerConfig(time_limit=args.time_limit, lanes=lanes)
            pool = stack.enter_context(player_pool(args.logdir, config, args.device, cores))
            methods[f"ours, {lanes} lanes"] = partial(play_generation, pool, candidates, lanes)
        pool = stack.enter_context(worker_pool(cores))
        play_frame_by_frame(pool, args.logdir, cores, 1)  # This starts the workers.
        methods["gymnasium frame by frame"] = partial(play_frame_by_frame, pool, args.logdir, cores, 100)
        rates = measure.alternate(methods, args.rounds)
    ours = f"ours, {args.lanes[0]} lanes"
    goals = [Goal(ours, f"{backend} alone", 0.75), Goal(ours, "gymnasium frame by frame", 10)]
    report(args, "Controller: evaluation", "steps/s", rates, f"{backend} alone", goals)


def draw_population(logdir: str, sigma: float) -> np.ndarray:
    """Return a generation of candidates (pop_size, P), drawn around the trained controller."""
    mean = flatten_parameters(load_agent(logdir, torch.device("cpu"))[1])
    return mean + sigma * np.random.default_rng(1).standard_normal((WMControllerConfig().pop_size, len(mean)))


@contextmanager
def player_pool(logdir: str, config: WMControllerConfig, device: str, cores: int) -> Iterator[Executor]:
    """Yield started workers that share the cores as in training."""
    workers, threads = share_cores(cores, config)
    load = EnvironmentPlayer.load, logdir, ENV, choose_backend(ENV), config, device, threads
    with worker_pool(workers, start_player, *load) as pool:
        list(pool.map(abs, range(100)))  # This starts the workers.
        yield pool


def play_generation(pool: Executor, candidates: np.ndarray, lanes: int) -> float:
    """Return the steps/s of a generation. All candidates play the same track."""
    evaluator, start = Evaluator(pool, lanes), time.perf_counter()
    seeds = [seeding.track_seed(1, "training", next(TRACKS))] * len(candidates)
    _, lengths = evaluator.collect(evaluator.submit(candidates, seeds))
    return int(lengths.sum()) / (time.perf_counter() - start)


def play_frame_by_frame(pool: Executor, logdir: str, processes: int, steps: int) -> float:
    """Return the steps/s of one agent per process in gymnasium."""
    start = time.perf_counter()
    jobs = [pool.submit(baselines.drive, logdir, seed, steps) for seed in range(processes)]
    return sum(job.result() for job in jobs) / (time.perf_counter() - start)


if __name__ == "__main__":
    parser = program.make_parser(__doc__)
    program.add_run_flags(parser)
    parser.add_argument("--lanes", type=int, nargs="+", default=[WMControllerConfig().lanes], help="lanes to try")
    parser.add_argument("--sigma", type=float, default=0.1, help="of the candidates (default: %(default)s)")
    parser.add_argument("--time-limit", type=int, default=300, help="longest episode, steps (default: %(default)s)")
    program.run_benchmark(parser, main)
