#!/usr/bin/env python
"""The official test, steps/s: the agent in gymnasium, against gymnasium alone under the same actions, on all cores.

python bench/evaluate.py --logdir results/carracing
"""

import time
from functools import partial
from itertools import count, islice

import common
import numpy as np
from common import Goal

from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import GymnasiumLanes
from worldmodels.envs.making import make_gymnasium
from worldmodels.playing.evaluation import WIDTH, AgentPlayer
from worldmodels.playing.workers import run_with_player, start_player
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.workers import worker_pool

SEEDS = count(20_000)


class Recorder(GymnasiumLanes):
    """Lanes that keep the actions they are stepped with."""

    def __init__(self, instances: Instances, seeds: list[int]) -> None:
        super().__init__(instances.config, seeds, instances)
        self.actions: dict[int, list[np.ndarray]] = {seed: [] for seed in seeds}

    def step(self, lanes: np.ndarray, actions: np.ndarray):
        for lane, action in zip(lanes, actions):
            self.actions[self.seeds[lane]].append(action)
        return super().step(lanes, actions)


def record(player: AgentPlayer, seeds: list[int]) -> dict[int, list[np.ndarray]]:
    """Return the agent's actions in the episodes of these seeds."""
    lanes = Recorder(player.instances, seeds)
    player.play_lanes(lanes)
    return lanes.actions


def replay(seed: int, actions: list[np.ndarray], env: EnvConfig) -> int:
    """Play these actions and look at nothing."""
    made = make_gymnasium(env)
    made.reset(seed=seed)
    for action in actions:
        made.step(action)
    made.close()
    return len(actions)


def main(args) -> None:
    env = EnvConfig(kwargs={"max_episode_steps": args.steps})
    with worker_pool(args.threads, start_player, AgentPlayer.load, args.logdir, env, args.device) as pool:
        list(pool.map(abs, range(100)))  # the workers start
        plans = {}

        def ours() -> float:
            pieces = [list(islice(SEEDS, WIDTH)) for _ in range(args.threads)]
            for actions in pool.map(partial(run_with_player, record), pieces):
                plans.update(actions)
            start = time.perf_counter()
            played = pool.map(partial(run_with_player, AgentPlayer.play), pieces)
            steps = sum(length for episodes in played for _, length in episodes.values())
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
    made.add_argument("--steps", type=int, default=200, help="longest episode, steps (default: %(default)s)")
    common.main(made, main)
