"""Where the search for C starts: at parameters of 0, or at the C of an earlier run (ctrl.start)."""

from typing import NamedTuple

import numpy as np

from worldmodels.models.controller import Controller, flatten_parameters
from worldmodels.models.load_controller import load_controller
from worldmodels.playing.agent import WorldModel
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.paths import controller_file


class Start(NamedTuple):
    """Where the search starts.

    Attributes:
        parameters: (P,), or None for 0.
        env_steps: {"start": environment steps that the start cost beside this run's rollouts}, or {} if none.
    """

    parameters: np.ndarray | None
    env_steps: dict[str, int]


def load_start(start: str, controller: Controller, world: WorldModel) -> Start:
    """Return where the search starts.

    Args:
        start: ctrl.start.
        controller: of the shape that is searched.
        world: V and M of this run.

    Raises:
        UserError: the checkpoint is missing or damaged, or its C has another shape.
    """
    if not start:
        return Start(None, {})
    path = controller_file(start)
    earlier, saved = load_controller(path)
    if shape_text(earlier) != shape_text(controller):
        raise UserError(
            f"ctrl.start: expected a C with {shape_text(controller)}, as ctrl.features, ctrl.hidden and M say, "
            f"found {path} with {shape_text(earlier)}"
        )
    if any(saved.get(stage) not in (None, digest) for stage, digest in world.digests.items()):
        log.warning(
            "ctrl: %s was trained with another V or M, so its weights belong to other inputs; "
            "ctrl.start: agent refits the C of rollouts.agent to the V and M of this run",
            path,
        )
    steps = count_start_steps(saved, world)
    return Start(flatten_parameters(earlier), {"start": steps} if steps else {})


def shape_text(controller: Controller) -> str:
    """Return the sizes of a controller's inputs, hidden layers and outputs, for a comparison and for messages."""
    widths = [layer.out_features for layer in controller.hidden]
    return f"{controller.shape_text()}, hidden layers {widths} and {controller.fc.out_features} outputs"


def count_start_steps(saved: dict, world: WorldModel) -> int:
    """Return the environment steps that a checkpoint of C cost beside this run's rollouts.

    Runs with the same V share their rollouts, which count once.
    """
    steps = dict(saved.get("env_steps", {}))
    if saved.get("vae") == world.digests.get("vae"):
        steps.pop("rollouts", None)
    return sum(steps.values())
