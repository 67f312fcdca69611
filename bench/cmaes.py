#!/usr/bin/env python
"""CMA-ES, the share of ask and tell in a generation.

python bench/cmaes.py --logdir results/carracing
"""

import time

import common
import numpy as np
from common import Goal
from controller import generation, players, population

from worldmodels.runtime.config import WMControllerConfig
from worldmodels.search.cma_es import CMAES


def ask_and_tell(strategy: CMAES, generations: int) -> float:
    """Seconds of CMA-ES a generation; over many, since it decomposes its covariance only now and then."""
    rng, start = np.random.default_rng(1), time.perf_counter()
    for _ in range(generations):
        candidates = strategy.ask()
        strategy.tell(rng.standard_normal(len(candidates)))
    return (time.perf_counter() - start) / generations


def main(args) -> None:
    ctrl = WMControllerConfig()
    candidates = population(args.logdir, ctrl.sigma0)
    strategy = CMAES(candidates.shape[1], ctrl.sigma0, ctrl.pop_size, seed=1)

    def play() -> float:
        start = time.perf_counter()
        generation(pool, candidates, ctrl.lanes)
        return time.perf_counter() - start

    with players(args.logdir, ctrl, args.device, args.threads) as pool:
        methods = {"playing": play, "ask and tell": lambda: ask_and_tell(strategy, 20)}
        rates = common.alternate(methods, args.rounds)
    goals = [Goal("ask and tell", "playing", 0.02, at_most=True)]
    common.report(args, f"CMA-ES: {candidates.shape[1]} parameters", "seconds", rates, "playing", goals)


if __name__ == "__main__":
    made = common.parser(__doc__, rounds=2)
    common.add_run(made)
    common.main(made, main)
