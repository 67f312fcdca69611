#!/usr/bin/env python
"""Controller evaluation, steps/s: environment + V + M + C for a population, against the environment alone.

    python bench/controller.py --logdir results/carracing

plays a generation around the trained controller, as training does, with different numbers of lanes a worker, and
steps EnvPool (or gymnasium) alone with the same actions, all cores each, in one run. The ratio is what matters.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import numpy as np

from worldmodels import cli, config, seeding, settings
from worldmodels.cli import log
from worldmodels.controller import Evaluator, flatten_parameters, load_controller, prepare_worker
from worldmodels.envs import action_space, choose_backend, make_lanes
from worldmodels.rollouts import plan_actions
from worldmodels.workers import workers


def alone(env, backend: str, threads: int, steps: int = 150, lanes: int = 64) -> float:
    """Steps/s of the environment alone, under smooth random actions."""
    ou = config.RolloutsConfig(policy="ou", seq_len=steps)
    plans = np.stack([plan_actions(action_space(env), ou, 1, lane) for lane in range(lanes)])
    made, everyone = make_lanes(env, backend, list(range(lanes)), threads), np.arange(lanes)
    made.reset()
    start = time.perf_counter()
    for t in range(steps):
        made.step(everyone, plans[:, t])
    made.close()
    return lanes * steps / (time.perf_counter() - start)


def main(args) -> None:
    run = cli.run_config(args)
    env = settings.from_args(args, config.EnvConfig)
    ctrl = settings.from_args(args, config.WMControllerConfig, env_name=env.id)
    backend = choose_backend(env)
    controller, _ = load_controller(f"{run.logdir}/ctrl/best.tar")
    mean = flatten_parameters(controller)
    rng = np.random.default_rng(1)
    population = mean + ctrl.sigma0 * rng.standard_normal((ctrl.pop_size, len(mean)))
    limit = alone(env, backend, args.threads)
    log.info("%-28s %8s %8s", "", "steps/s", "ratio")
    log.info("%-28s %8.0f %8.2f", f"{backend} alone", limit, 1.0)
    with workers(args.threads, prepare_worker, run.logdir, env, backend, ctrl, run.device) as pool:
        list(pool.map(abs, range(100)))  # the workers start
        for lanes in args.try_lanes:
            evaluator, steps, start = Evaluator(pool, lanes), 0, time.perf_counter()
            for track in range(args.generations):
                seeds = [seeding.track_seed(1, "training", 10_000 + track)] * ctrl.pop_size
                steps += int(evaluator.collect(evaluator.submit(population, seeds))[1].sum())
            rate = steps / (time.perf_counter() - start)
            log.info("%-28s %8.0f %8.2f", f"agent, {lanes} lanes a worker", rate, rate / limit)
    limit = alone(env, backend, args.threads)
    log.info("%-28s %8.0f %8.2f", f"{backend} alone, again", limit, 1.0)


if __name__ == "__main__":
    made = cli.parser(__doc__, config.EnvConfig, config.WMControllerConfig)
    made.add_argument("--generations", type=int, default=2, help="generations each (default: %(default)s)")
    made.add_argument("--try-lanes", type=int, nargs="+", default=[8, 16, 32], help="lanes to try")
    cli.main(made, main)
