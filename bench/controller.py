#!/usr/bin/env python
"""Controller evaluation, steps/s: environment + V + M + C for a population, against the environment alone.

    python bench/controller.py --logdir results/carracing

plays generations around the trained controller, as training does; steps EnvPool alone; and drives one agent a process
in gymnasium, frame by frame.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count

import baselines
import common
import numpy as np
import torch
from common import Goal

from worldmodels.envs import seeding
from worldmodels.envs.backends import choose_backend
from worldmodels.models.controller import flatten_parameters
from worldmodels.playing.agent import load_agent
from worldmodels.playing.workers import start_player
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.workers import worker_pool
from worldmodels.search.evaluator import CandidatePlayer, Evaluator, share_cores

ENV = EnvConfig()
TRACKS = count(10_000)  # every measurement plays another track


def population(logdir: str, sigma: float) -> np.ndarray:
    """A generation of candidates (pop_size, P) around the trained controller."""
    mean = flatten_parameters(load_agent(logdir, torch.device("cpu"))[1])
    return mean + sigma * np.random.default_rng(1).standard_normal((WMControllerConfig().pop_size, len(mean)))


@contextmanager
def players(logdir: str, ctrl: WMControllerConfig, device: str, cores: int) -> Iterator[Executor]:
    """Workers that share the cores as in training."""
    count, threads = share_cores(cores, ctrl)
    load = CandidatePlayer.load, logdir, ENV, choose_backend(ENV), ctrl, device, threads
    with worker_pool(count, start_player, *load) as pool:
        list(pool.map(abs, range(100)))  # they start
        yield pool


def generation(pool: Executor, candidates: np.ndarray, lanes: int) -> float:
    """Steps/s of a generation, all candidates on one track."""
    evaluator, start = Evaluator(pool, lanes), time.perf_counter()
    seeds = [seeding.track_seed(1, "training", next(TRACKS))] * len(candidates)
    steps = int(evaluator.collect(evaluator.submit(candidates, seeds))[1].sum())
    return steps / (time.perf_counter() - start)


def frame_by_frame(pool: Executor, logdir: str, processes: int, steps: int) -> float:
    start = time.perf_counter()
    jobs = [pool.submit(baselines.drive, logdir, seed, steps) for seed in range(processes)]
    return sum(job.result() for job in jobs) / (time.perf_counter() - start)


def main(args) -> None:
    backend, cores = choose_backend(ENV), args.threads
    candidates = population(args.logdir, args.sigma)
    with ExitStack() as stack:
        methods = {f"{backend} alone": lambda: common.environment_rate(ENV, backend, cores)}
        for lanes in args.lanes:
            ctrl = WMControllerConfig(time_limit=args.time_limit, lanes=lanes)
            pool = stack.enter_context(players(args.logdir, ctrl, args.device, cores))
            methods[f"ours, {lanes} lanes"] = partial(generation, pool, candidates, lanes)
        singles = stack.enter_context(worker_pool(cores))
        frame_by_frame(singles, args.logdir, cores, 1)  # they start
        methods["gymnasium frame by frame"] = partial(frame_by_frame, singles, args.logdir, cores, 100)
        rates = common.alternate(methods, args.rounds)
    row = f"ours, {args.lanes[0]} lanes"
    goals = [Goal(row, f"{backend} alone", 0.75), Goal(row, "gymnasium frame by frame", 10)]
    common.report(args, "Controller: evaluation", "steps/s", rates, f"{backend} alone", goals)


if __name__ == "__main__":
    made = common.parser(__doc__)
    common.add_run(made)
    made.add_argument("--lanes", type=int, nargs="+", default=[WMControllerConfig().lanes], help="lanes to try")
    made.add_argument("--sigma", type=float, default=0.1, help="of the candidates (default: %(default)s)")
    made.add_argument("--time-limit", type=int, default=300, help="longest episode, steps (default: %(default)s)")
    common.main(made, main)
