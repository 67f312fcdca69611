"""Candidate controllers as one policy."""

import numpy as np
import torch

from worldmodels.models.controller import ManyControllers
from worldmodels.models.load_controller import make_controller
from worldmodels.playing.agent import Policy, Squash, WorldModel
from worldmodels.runtime.config import WMControllerConfig


def candidate_policy(parameters: np.ndarray, config: WMControllerConfig, world: WorldModel, squash: Squash) -> Policy:
    """Return the policy in which each row of a batch is driven by a controller of its own.

    Args:
        parameters: (B, P), one controller per row.
        config: says what C looks like.
        world: V and M.
        squash: turns outputs into actions.
    """
    weights = torch.as_tensor(parameters, dtype=torch.float32, device=world.device)
    controllers = ManyControllers(weights, make_controller(config.to_dict(), world.cell))

    def policy(rows: np.ndarray | torch.Tensor | slice, **features: torch.Tensor) -> torch.Tensor:
        return squash(controllers.act(rows, **features))

    return policy
