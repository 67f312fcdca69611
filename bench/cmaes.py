"""Measure CMA-ES: the share of ask and tell in a generation.

python -m bench.cmaes --logdir results/carracing
"""

import time
from argparse import Namespace

import numpy as np

from bench import measure, program
from bench.controller import draw_population, play_generation, player_pool
from bench.report import Goal, report
from worldmodels.runtime.config import WMControllerConfig
from worldmodels.search.cma_es import CMAES

GENERATIONS = 20  # per measurement; CMA-ES does not decompose its covariance in every generation


def main(args: Namespace) -> None:
    config = WMControllerConfig()
    candidates = draw_population(args.logdir, config.sigma0)
    parameters = candidates.shape[1]
    search = CMAES(parameters, config.sigma0, config.pop_size, seed=1)
    with player_pool(args.logdir, config, args.device, args.threads) as pool:

        def play() -> float:
            start = time.perf_counter()
            play_generation(pool, candidates, config.lanes)
            return time.perf_counter() - start

        methods = {"playing": play, "ask and tell": lambda: ask_and_tell(search)}
        rates = measure.alternate(methods, args.rounds)
    goals = [Goal("ask and tell", "playing", 0.02, at_most=True)]
    report(args, f"CMA-ES: {parameters} parameters", "seconds", rates, "playing", goals)


def ask_and_tell(search: CMAES) -> float:
    """Return the seconds per generation that CMA-ES takes."""
    rng, start = np.random.default_rng(1), time.perf_counter()
    for _ in range(GENERATIONS):
        candidates = search.ask()
        search.tell(rng.standard_normal(len(candidates)))
    return (time.perf_counter() - start) / GENERATIONS


if __name__ == "__main__":
    parser = program.make_parser(__doc__, rounds=2)
    program.add_run_flags(parser)
    program.run_benchmark(parser, main)
