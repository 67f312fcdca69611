"""Fitness of many controllers at once, in worker processes."""

import math
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
from worldmodels.playing.workers import run_with_player
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.devices import worker_device

Result = tuple[np.ndarray, np.ndarray]  # returns (B,), lengths (B,)


@dataclass
class CandidatePlayer:
    """V, M and the environments in which a worker process plays episodes of candidate controllers."""

    world: WorldModel
    env: EnvConfig
    backend: str
    config: WMControllerConfig
    squash: Squash
    threads: int = 1  # that step EnvPool's environments
    instances: Instances | None = None  # gymnasium's environments; EnvPool needs none

    @classmethod
    def load(
        cls,
        number: int,
        logdir: str,
        env: EnvConfig,
        backend: str,
        config: WMControllerConfig,
        device: str,
        threads: int,
    ) -> "CandidatePlayer":
        """Load V and M of <logdir>, and make the first environment.

        Args:
            number: of the worker. It chooses the GPU if there are several.
            threads: step EnvPool's environments.

        Raises:
            UserError: a network is missing or damaged, or does not suit the environment.
        """
        world = load_world_model(logdir, worker_device(device, number))
        instances = Instances(env)
        squash = world.squash(config.squash, instances.space)
        if backend == "envpool":
            instances.close()  # only its action space was needed
        return cls(world, env, backend, config, squash, threads, instances)

    def evaluate(self, parameters: np.ndarray, seeds: list[int]) -> Result:
        """Play one episode per candidate controller.

        Args:
            parameters: (B, P), one controller per row.
            seeds: (B,) of the episodes.

        Returns:
            returns (B,) float64 and lengths (B,) int64.
        """
        weights = torch.as_tensor(parameters, dtype=torch.float32, device=self.world.device)
        controllers = ManyControllers(weights, make_controller(self.config.to_dict(), self.world.cell))

        def policy(rows: np.ndarray | slice, **features: torch.Tensor) -> torch.Tensor:
            return self.squash(controllers.act(rows, **features))

        lanes = make_lanes(self.env, self.backend, seeds, self.threads, self.instances)
        # In gymnasium env.instances may have episodes wait. A row for each of them keeps the bits the same.
        width = len(seeds) if self.backend == "gymnasium" else 0
        try:
            limits = self.config.time_limit, self.config.stall_limit
            return play_episodes(self.world, lanes, policy, *limits, features=self.config.features, width=width)
        finally:
            lanes.close()

    def close(self) -> None:
        """Close the environments."""
        if self.instances:
            self.instances.close()


def share_cores(cores: int, config: WMControllerConfig) -> tuple[int, int]:
    """Share the cores among worker processes and their threads.

    Returns:
        The number of worker processes, at most one per piece of a generation, and the number of threads in each that
        step EnvPool's environments.
    """
    cores = min(cores, config.max_workers)
    grown = config.max_env_steps // config.sample_growth if config.sample_growth else 0
    pieces = math.ceil(config.pop_size * (config.n_samples + grown) / config.lanes)
    count = max(1, min(cores, pieces))
    return count, max(1, cores // count)


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
                jobs.append(
                    self.pool.submit(run_with_player, CandidatePlayer.evaluate, parameters[piece], seeds[piece])
                )
        return jobs

    @staticmethod
    def collect(jobs: list[Future]) -> Result:
        """Return the results of the jobs in their order, once all jobs have ended."""
        returns, lengths = zip(*(job.result() for job in jobs))
        return np.concatenate(returns), np.concatenate(lengths)
