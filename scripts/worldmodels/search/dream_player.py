"""A worker's player that evaluates candidates in M's dreams."""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from worldmodels.models.mdrnn_bfloat16 import Bfloat16Cell
from worldmodels.models.precision import has_bfloat16
from worldmodels.playing.agent import Squash, WorldModel, load_world_model
from worldmodels.playing.dream_episodes import FirstLatents, load_first_latents, play_dreams
from worldmodels.runtime.config import WMControllerConfig
from worldmodels.runtime.devices import worker_device
from worldmodels.search.candidates import candidate_policy
from worldmodels.search.evaluator import Result


@dataclass
class DreamPlayer:
    """M, which dreams, and what the candidates need.

    Attributes:
        time_limit: steps of the longest dream.
    """

    world: WorldModel
    latents: FirstLatents
    config: WMControllerConfig
    squash: Squash
    time_limit: int

    @classmethod
    def load(
        cls, number: int, config: WMControllerConfig, device: str, space: gym.Space, time_limit: int
    ) -> "DreamPlayer":
        """Load V and M of config.logdir.

        Args:
            number: of the worker. It chooses the GPU if there are several.
            device: see devices.choose_device.
            space: of the environment's actions.
            time_limit: steps of the longest dream.

        Raises:
            UserError: a network is missing or damaged, or does not suit the actions.
        """
        world = load_world_model(config.logdir, worker_device(device, number))
        if has_bfloat16(world.device):
            world.cell = Bfloat16Cell(world.cell)
        latents = load_first_latents(f"{config.logdir}/mdrnn/best.tar")
        return cls(world, latents, config, world.squash(config.squash, space), time_limit)

    def evaluate(self, parameters: np.ndarray, seeds: list[int]) -> Result:
        """Play one dream per candidate controller.

        Args:
            parameters: (B, P), one controller per row.
            seeds: (B,) of the dreams.

        Returns:
            returns (B,) float64 and lengths (B,) int64.
        """
        policy = candidate_policy(parameters, self.config, self.world, self.squash)
        limits = self.time_limit, self.config.stall_limit
        temperature, features = self.config.temperature, self.config.features
        return play_dreams(self.world, self.latents, seeds, policy, temperature, *limits, features)

    def close(self) -> None:
        """Nothing is open."""
