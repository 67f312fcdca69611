"""A worker's player that evaluates candidates in the environment."""

from dataclasses import dataclass

import numpy as np

from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import make_lanes
from worldmodels.playing.agent import Squash, WorldModel, load_world_model
from worldmodels.playing.episodes import play_episodes
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.devices import worker_device
from worldmodels.search.candidates import candidate_policy
from worldmodels.search.evaluator import Result


@dataclass
class EnvironmentPlayer:
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
    ) -> "EnvironmentPlayer":
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
        policy = candidate_policy(parameters, self.config, self.world, self.squash)
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
