"""Measure the official test, steps/s: the agent in gymnasium, and gymnasium alone under the same actions.

python -m bench.evaluate --logdir results/carracing
"""

import time
from argparse import Namespace
from concurrent.futures import Executor
from functools import partial
from itertools import count, islice

import numpy as np

from bench import measure, program
from bench.report import Goal, report
from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import GymnasiumLanes, Steps
from worldmodels.envs.making import make_gymnasium
from worldmodels.playing.evaluation import WIDTH, AgentPlayer
from worldmodels.playing.workers import run_with_player, start_player
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.workers import worker_pool

SEEDS = count(20_000)  # Every measurement plays tracks of its own.

Actions = dict[int, list[np.ndarray]]  # seed -> the actions of its episode


def main(args: Namespace) -> None:
    env = EnvConfig(kwargs={"max_episode_steps": args.steps})
    actions: Actions = {}  # of the episodes that the agent has played and gymnasium has not
    with worker_pool(args.threads, start_player, AgentPlayer.load, args.logdir, env, args.device) as pool:
        list(pool.map(abs, range(100)))  # This starts the workers.
        methods = {
            "ours": lambda: play_test(pool, args.threads, actions),
            "gymnasium alone": lambda: step_gymnasium(pool, env, actions),
        }
        rates = measure.alternate(methods, args.rounds)
    goals = [Goal("ours", "gymnasium alone", 0.90)]
    report(args, "Evaluation: the official test", "steps/s", rates, "gymnasium alone", goals)


class RecordingLanes(GymnasiumLanes):
    """Lanes that record the actions of each episode."""

    def __init__(self, instances: Instances, seeds: list[int]) -> None:
        super().__init__(instances.config, seeds, instances)
        self.actions: Actions = {seed: [] for seed in seeds}

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> Steps:
        """Record the actions and step the environments, see GymnasiumLanes."""
        for lane, action in zip(lanes, actions):
            self.actions[self.seeds[lane]].append(action)
        return super().step(lanes, actions)


def play_test(pool: Executor, workers: int, actions: Actions) -> float:
    """Return the steps/s of a test of one batch of episodes per worker.

    The agent's actions in these episodes are recorded first.
    """
    batches = [list(islice(SEEDS, WIDTH)) for _ in range(workers)]
    for recorded in pool.map(partial(run_with_player, record_actions), batches):
        actions.update(recorded)
    start = time.perf_counter()
    tested = pool.map(partial(run_with_player, AgentPlayer.play), batches)
    steps = sum(length for episodes in tested for _, length in episodes.values())
    return steps / (time.perf_counter() - start)


def record_actions(player: AgentPlayer, seeds: list[int]) -> Actions:
    """Return the agent's actions in the episodes of these seeds."""
    lanes = RecordingLanes(player.instances, seeds)
    player.play_lanes(lanes)
    return lanes.actions


def step_gymnasium(pool: Executor, env: EnvConfig, actions: Actions) -> float:
    """Return the steps/s of gymnasium under the recorded actions, and forget the actions."""
    start = time.perf_counter()
    steps = sum(pool.map(repeat_actions, actions.keys(), actions.values(), [env] * len(actions)))
    elapsed = time.perf_counter() - start
    actions.clear()
    return steps / elapsed


def repeat_actions(seed: int, actions: list[np.ndarray], config: EnvConfig) -> int:
    """Take these actions in the episode of this seed, without looking at the frames. Return the number of steps."""
    env = make_gymnasium(config)
    env.reset(seed=seed)
    for action in actions:
        env.step(action)
    env.close()
    return len(actions)


if __name__ == "__main__":
    parser = program.make_parser(__doc__)
    program.add_run_flags(parser)
    parser.add_argument("--steps", type=int, default=200, help="longest episode, steps (default: %(default)s)")
    program.run_benchmark(parser, main)
