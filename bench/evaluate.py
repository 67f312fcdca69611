#!/usr/bin/env python
"""The official test, steps/s: the agent in gymnasium, against gymnasium alone under the same actions, on all cores.

python bench/evaluate.py --logdir results/carracing
"""

import time
from itertools import count

import common
import numpy as np
from common import Goal

from worldmodels import evaluation
from worldmodels.agent import play_episodes
from worldmodels.config import EnvConfig
from worldmodels.envs import GymnasiumLanes, make_gymnasium
from worldmodels.workers import workers

SEEDS = count(20_000)


class Recorder(GymnasiumLanes):
    """Lanes that keep the actions they are stepped with."""

    def __init__(self, env: EnvConfig, seeds: list[int]) -> None:
        super().__init__(env, seeds)
        self.actions: list[np.ndarray] = []

    def step(self, lanes: np.ndarray, actions: np.ndarray):
        self.actions.append(actions[0])
        return super().step(lanes, actions)


def record(seed: int) -> np.ndarray:
    """The agent's actions (T,A) in the episode of this seed."""
    world, controller, squash, env = evaluation.AGENT
    lanes = Recorder(env, [seed])
    play_episodes(world, lanes, lambda _, z, h: squash(controller(z, h)))
    lanes.close()
    return np.stack(lanes.actions)


def replay(seed: int, actions: np.ndarray, env: EnvConfig) -> int:
    """Play these actions and look at nothing."""
    made = make_gymnasium(env)
    made.reset(seed=seed)
    for action in actions:
        made.step(action)
    made.close()
    return len(actions)


def main(args) -> None:
    env = EnvConfig(kwargs={"max_episode_steps": args.steps})
    with workers(args.threads, evaluation.prepare_worker, args.logdir, env, args.device) as pool:
        list(pool.map(abs, range(100)))  # the workers start
        plans = {}

        def ours() -> float:
            seeds = [next(SEEDS) for _ in range(args.threads)]
            plans.update(zip(seeds, pool.map(record, seeds)))
            start = time.perf_counter()
            steps = sum(length for _, length in pool.map(evaluation.evaluate_in_worker, seeds))
            return steps / (time.perf_counter() - start)

        def alone() -> float:
            start = time.perf_counter()
            steps = sum(pool.map(replay, plans.keys(), plans.values(), [env] * len(plans)))
            plans.clear()
            return steps / (time.perf_counter() - start)

        rates = common.alternate({"ours": ours, "gymnasium alone": alone}, args.rounds)
    goals = [Goal("ours", "gymnasium alone", 0.90)]
    common.report(args, "Evaluation: the official test", "steps/s", rates, "gymnasium alone", goals)


if __name__ == "__main__":
    made = common.parser(__doc__)
    common.add_run(made)
    made.add_argument("--steps", type=int, default=400, help="longest episode, steps (default: %(default)s)")
    common.main(made, main)
