"""Measure C's training in M's dreams, steps/s, against the matrix products of M and C and against the environment.

    python -m bench.dreams --logdir results/carracing
    python -m bench.dreams --logdir results/doom --env-id VizdoomTakeCover-v1 --env-import vizdoom.gymnasium_wrapper

The rows: a generation of 64 candidates x 16 dreams, as in training; 1, 16 and 1,024 dreams in one process; a generation
in the environment, as with ctrl.world: environment; and the matrix products alone.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count

import numpy as np
import torch

from bench import measure, program
from bench.report import Goal, report
from worldmodels.envs.backends import choose_backend
from worldmodels.envs.instances import action_space
from worldmodels.models.load_controller import make_controller
from worldmodels.models.mdrnn import MDRNNCell
from worldmodels.playing.agent import load_world_model
from worldmodels.playing.workers import start_player
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.flags import add_flags, section_from_args
from worldmodels.runtime.workers import worker_pool
from worldmodels.search.dream_player import DreamPlayer
from worldmodels.search.environment_player import EnvironmentPlayer
from worldmodels.search.evaluator import Evaluator, share_cores

SEEDS = count(10_000)  # Every measurement plays episodes of its own.
GENERATION = "64 candidates x 16 dreams"
ENVIRONMENT = "64 candidates in the environment"


def main(args: argparse.Namespace) -> None:
    env = section_from_args(args, EnvConfig)
    settings = {"logdir": args.logdir, "features": args.features, "time_limit": args.time_limit, "env_name": env.id}
    config = WMControllerConfig(world="dream", n_samples=16, stall_limit=0, **settings)
    cell, device = load_world_model(args.logdir, torch.device("cpu")).cell, choose_device(args.device)
    controller = make_controller(config.to_dict(), cell)
    size = sum(parameter.numel() for parameter in controller.parameters())
    candidates = 0.1 * np.random.default_rng(1).standard_normal((config.pop_size, size))
    dreaming = DreamPlayer.load, config, args.device, action_space(env), args.time_limit
    with ExitStack() as stack:
        methods = measure.product_limits(device, flop_per_step(cell, size))
        pool = stack.enter_context(player_pool(config, args.threads, *dreaming))
        methods[GENERATION] = partial(play_generation, pool, candidates, config)
        player = dreaming[0](0, *dreaming[1:])
        for dreams in (1, 16, 1024):
            methods[f"{dreams:,} dreams, one process"] = partial(play_dreams, player, candidates, dreams)
        real = WMControllerConfig(stall_limit=0, **settings)
        playing = EnvironmentPlayer.load, args.logdir, env, choose_backend(env), real, args.device
        pool = stack.enter_context(player_pool(real, args.threads, *playing, share_cores(args.threads, real)[1]))
        methods[ENVIRONMENT] = partial(play_generation, pool, candidates, real)
        rates = measure.alternate(methods, args.rounds)
    limit = "matrix products, float32"
    report(args, "Dreams", "steps/s", rates, limit, [Goal(GENERATION, limit, 0.5), Goal(GENERATION, ENVIRONMENT, 20)])


def flop_per_step(cell: MDRNNCell, controller_size: int) -> float:
    """Return the floating-point operations of M and C per step, two per multiply-add."""
    matrices = [parameter for parameter in cell.parameters() if parameter.ndim == 2]
    return 2.0 * (sum(matrix.numel() for matrix in matrices) + controller_size)


@contextmanager
def player_pool(config: WMControllerConfig, cores: int, *load: object) -> Iterator[Executor]:
    """Yield started workers that share the cores as in training."""
    with worker_pool(share_cores(cores, config)[0], start_player, *load) as pool:
        list(pool.map(abs, range(100)))  # This starts the workers.
        yield pool


def play_generation(pool: Executor, candidates: np.ndarray, config: WMControllerConfig) -> float:
    """Return the steps/s of a generation. All candidates meet the same episodes."""
    evaluator, start = Evaluator(pool, config.lanes), time.perf_counter()
    seeds = [next(SEEDS) for _ in range(config.n_samples)] * len(candidates)
    _, lengths = evaluator.collect(evaluator.submit(np.repeat(candidates, config.n_samples, axis=0), seeds))
    return int(lengths.sum()) / (time.perf_counter() - start)


def play_dreams(player: DreamPlayer, candidates: np.ndarray, dreams: int) -> float:
    """Return the steps/s of this many dreams as one batch on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    parameters, start = candidates[np.arange(dreams) % len(candidates)], measure.clock()
    _, lengths = player.evaluate(parameters, [next(SEEDS) for _ in range(dreams)])
    elapsed = measure.clock() - start
    torch.set_num_threads(threads)
    return int(lengths.sum()) / elapsed


if __name__ == "__main__":
    parser = program.make_parser(__doc__)
    program.add_run_flags(parser)
    add_flags(parser, EnvConfig)
    parser.add_argument("--features", default="zh", help="what C sees, see ctrl.features (default: %(default)s)")
    parser.add_argument("--time-limit", type=int, default=300, help="longest episode, steps (default: %(default)s)")
    program.run_benchmark(parser, main)
