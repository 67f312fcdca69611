"""Fitness of many controllers at once, in worker processes."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
import torch

from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import make_lanes
from worldmodels.models.controller import ManyControllers
from worldmodels.models.load_controller import make_controller
from worldmodels.playing.agent import Squash, WorldModel, load_world_model
from worldmodels.playing.episodes import play_episodes
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.devices import worker_device


@dataclass
class Worker:
    """What a worker process keeps between its tasks."""

    world: WorldModel
    env: EnvConfig
    backend: str
    config: WMControllerConfig
    squash: Squash
    threads: int = 1  # that step EnvPool's environments
    instances: Instances | None = None  # of gymnasium, where that plays

    def evaluate(self, parameters: np.ndarray, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Play an episode of each of the controllers (B,P) on its seed: returns (B,), lengths (B,)."""
        weights = torch.as_tensor(parameters, dtype=torch.float32, device=self.world.device)
        many = ManyControllers(weights, make_controller(self.config.to_dict(), self.world.cell))

        def policy(which: np.ndarray | slice, **parts: torch.Tensor) -> torch.Tensor:
            return self.squash(many.act(which, **parts))

        lanes = make_lanes(self.env, self.backend, seeds, self.threads, self.instances)
        # In gymnasium env.instances may have episodes wait. A row for each of them keeps the bits the same.
        width = len(seeds) if self.backend == "gymnasium" else 0
        try:
            limits = self.config.time_limit, self.config.stall_limit
            return play_episodes(self.world, lanes, policy, *limits, features=self.config.features, width=width)
        finally:
            lanes.close()


WORKER: Worker | None = None


def share_cores(cores: int, config: WMControllerConfig) -> tuple[int, int]:
    """Worker processes, as many as a generation has pieces at most, and the threads of each that step environments."""
    cores = min(cores, config.max_workers)
    grown = config.max_env_steps // config.sample_growth if config.sample_growth else 0
    pieces = -(-config.pop_size * (config.n_samples + grown) // config.lanes)
    count = max(1, min(cores, pieces))
    return count, max(1, cores // count)


def prepare_worker(
    number: int, logdir: str, env: EnvConfig, backend: str, config: WMControllerConfig, device: str, threads: int
) -> Callable[[], None]:
    """Load V and M once in a worker process, in which so many threads will step EnvPool's environments.

    Returns:
        What closes the worker's environments.
    """
    global WORKER
    world = load_world_model(logdir, worker_device(device, number))
    instances = Instances(env)
    squash = world.squash(config.squash, instances.space)
    if backend == "envpool":
        instances.close()  # it only told the actions
    WORKER = Worker(world, env, backend, config, squash, threads, instances)
    return instances.close


def evaluate_in_worker(parameters: np.ndarray, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
    assert WORKER is not None
    return WORKER.evaluate(parameters, seeds)


Result = tuple[np.ndarray, np.ndarray]  # returns (B,), lengths (B,)


class Evaluator:
    """Splits episodes into pieces of `lanes`, whatever the number of workers: so it never shows in a result."""

    def __init__(self, pool: Executor, lanes: int) -> None:
        self.pool, self.lanes = pool, lanes

    def submit(self, parameters: np.ndarray, seeds: list[int], known: dict[int, Result] | None = None) -> list[Future]:
        """Start an episode of each of the controllers (B,P) on its seed: the pieces, in order.

        Args:
            known: results of pieces, by number, that need not be played again.
        """
        jobs = []
        for number, i in enumerate(range(0, len(seeds), self.lanes)):
            piece = slice(i, i + self.lanes)
            if known and number in known:
                jobs.append(Future())
                jobs[-1].set_result(known[number])
            else:
                jobs.append(self.pool.submit(evaluate_in_worker, parameters[piece], seeds[piece]))
        return jobs

    @staticmethod
    def collect(jobs: list[Future]) -> Result:
        returns, lengths = zip(*(job.result() for job in jobs))
        return np.concatenate(returns), np.concatenate(lengths)
