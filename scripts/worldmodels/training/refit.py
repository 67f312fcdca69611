"""C refit to another V and M (paper, section 5): its first layer is fitted to the outputs of an earlier agent.

A new V and M describe the same frames by other z and h, so the weights of the earlier C mean nothing there. Ridge
regression finds the weights with which a C on the new z and h answers as the earlier agent did, step by step along
rollouts. Layers behind the first hidden layer keep their weights.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from worldmodels.data.episodes import prefetch, read_rollout
from worldmodels.models.controller import Controller
from worldmodels.models.encoding import encode
from worldmodels.models.vae import VAE
from worldmodels.playing.agent import WorldModel
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.preflight import Actions
from worldmodels.runtime.progress import progress
from worldmodels.storage.npz import read_npz

MOST_ROWS = 200_000  # more rows make no better fit of a few hundred weights
SIDE_BY_SIDE = 16  # episodes that M follows as one batch
FRAMES = 256  # that V encodes at once
STRENGTH = 1e-4  # of the ridge: z and h have variances of 0.01 to 1
SATURATION = 3.0  # tanh(3) is 0.995: larger outputs are the same action, and would dominate the fit


class Agent(NamedTuple):
    """V and M, and a C that acts on their z and h."""

    world: WorldModel
    controller: Controller


class Fit(NamedTuple):
    """How well the refit C answers as the earlier one.

    Attributes:
        rows: number of the steps.
        rmse: root mean square error over all steps and outputs of the first layer.
        std: standard deviation of the earlier agent's outputs, averaged in the same way.
    """

    rows: int
    rmse: float
    std: float


class Ridge:
    """Ridge regression with an intercept, on rows that come in pieces.

    It minimizes mean(|y - W x - b|^2) + strength * |W|^2. All sums are float64.

    Args:
        inputs: numbers per row of x.
        outputs: numbers per row of y.

    Attributes:
        rows: number of the rows so far.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.rows = 0
        self.moments = np.zeros((inputs + 1, inputs + 1))  # of [x, 1] with itself
        self.products = np.zeros((inputs + 1, outputs))  # of [x, 1] with y
        self.squares = np.zeros(outputs)

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Take in rows x (N, inputs) and y (N, outputs)."""
        x, y = np.column_stack([x, np.ones(len(x))]).astype(np.float64), y.astype(np.float64)
        self.rows += len(x)
        self.moments += x.T @ x
        self.products += x.T @ y
        self.squares += np.square(y).sum(axis=0)

    def solve(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Return W (outputs, inputs) and b (outputs,)."""
        penalty = np.full(len(self.moments), strength * self.rows)
        penalty[-1] = 0  # the intercept is free
        solution = np.linalg.solve(self.moments + np.diag(penalty), self.products).T
        return solution[:, :-1], solution[:, -1]

    def fit(self, matrix: np.ndarray, bias: np.ndarray) -> Fit:
        """Return how well W (outputs, inputs) and b (outputs,) fit the rows."""
        solution = np.column_stack([matrix, bias]).T
        errors = self.squares + ((self.moments @ solution - 2 * self.products) * solution).sum(axis=0)
        variances = self.squares / self.rows - np.square(self.products[-1] / self.rows)
        rmse, std = (float(np.sqrt(max(0.0, values.mean()))) for values in (errors / self.rows, variances))
        return Fit(self.rows, rmse, std)


@torch.inference_mode()
def refit_controller(files: list[str], agent: Agent, new: Agent, limits: np.ndarray) -> Fit:
    """Set the parameters of new.controller, so that it answers as the earlier agent does along rollouts.

    The hidden states of both M follow the actions that were taken.

    Args:
        files: the rollouts, in order. The first ones are used, up to MOST_ROWS steps.
        agent: the earlier agent.
        new: V and M of this run, and a controller for them, whose parameters are set.
        limits: (outputs of the first layer,), see output_limits.

    Raises:
        UserError: the controllers differ in their hidden layers or outputs, or a V does not take the frames.
    """
    check_layers(agent.controller, new.controller)
    earlier_first, first = agent.controller.layers[0], new.controller.layers[0]
    ridge = Ridge(first.in_features, first.out_features)
    bound = torch.as_tensor(limits, dtype=torch.float32, device=agent.world.device)
    files = choose_files(files, MOST_ROWS)
    for start in progress(range(0, len(files), SIDE_BY_SIDE), "refit"):
        episodes = list(prefetch(read_rollout, files[start : start + SIDE_BY_SIDE]))
        outputs = earlier_first(collect_inputs(agent, episodes)).clamp(-bound, bound)
        ridge.add(collect_inputs(new, episodes).cpu().numpy(), outputs.cpu().numpy())
    matrix, bias = ridge.solve(STRENGTH)
    for layer, earlier in zip(new.controller.layers, agent.controller.layers):
        if layer is not first:
            layer.load_state_dict(earlier.state_dict())
    first.load_state_dict({"weight": torch.from_numpy(matrix), "bias": torch.from_numpy(bias)})
    return ridge.fit(matrix, bias)


def check_layers(earlier: Controller, new: Controller) -> None:
    """Raise UserError if a controller cannot take over the outputs of an earlier one's layers."""
    widths, earlier_widths = ([layer.out_features for layer in each.layers] for each in (new, earlier))
    if widths[-1] != earlier_widths[-1]:
        raise UserError(
            f"rollouts.agent: expected an agent with {widths[-1]} numbers per action, as this run's M has, "
            f"found {earlier_widths[-1]}"
        )
    if widths != earlier_widths:
        raise UserError(
            f"ctrl.hidden: expected {earlier_widths[:-1]}, as the C of rollouts.agent has, found {widths[:-1]}"
        )


def output_limits(controller: Controller, squash: list[str], actions: Actions) -> np.ndarray:
    """Return the size (outputs of the first layer,) beyond which the controller's first layer saturates.

    It is infinite for outputs that no tanh follows.

    Args:
        squash: ctrl.squash of the controller.
        actions: of the environment.
    """
    width = controller.layers[0].out_features
    if controller.hidden:
        return np.full(width, SATURATION)
    if not actions.continuous:
        return np.full(width, np.inf)
    names = squash or ["tanh" if bounded else "clip" for bounded in actions.bounded]
    return np.array([np.inf if name == "clip" else SATURATION for name in names]) * np.ones(width)


def choose_files(files: list[str], most_rows: int) -> list[str]:
    """Return the first files, up to the one with which they have this number of steps."""
    rows = 0
    for count, file in enumerate(files, 1):
        rows += len(read_npz(file, ("rewards",))["rewards"])
        if rows >= most_rows:
            return files[:count]
    return files


def collect_inputs(agent: Agent, episodes: Sequence[dict[str, np.ndarray]]) -> torch.Tensor:
    """Return what an agent's controller sees in some episodes, (steps of all episodes, inputs of the controller).

    Args:
        agent: its M follows the actions in the episodes, whatever its controller would have done.
        episodes: as read_rollout returns them.
    """
    world, controller = agent.world, agent.controller
    lengths = torch.tensor([len(episode["rewards"]) for episode in episodes])
    latents = pad_sequence([encode_frames(world.vae, episode["observations"]) for episode in episodes])
    actions = pad_sequence([torch.from_numpy(episode["actions"]).to(world.device) for episode in episodes])
    if actions.shape[-1] != world.cell.actions:
        raise UserError(
            f"rollouts: expected actions of {world.cell.actions} numbers, as M in {world.logdir} takes, "
            f"found {actions.shape[-1]}"
        )
    hidden, rows = world.cell.get_init_hidden(len(episodes)), []
    for z, action in zip(latents, actions):
        rows.append(controller.concatenate(**world.features(controller.features, z, hidden)))
        hidden = world.cell.next_hidden(action, z, hidden)
    inside = torch.arange(len(rows))[:, None] < lengths
    return torch.stack(rows)[inside.to(world.device)]


def encode_frames(vae: VAE, frames: np.ndarray) -> torch.Tensor:
    """Return V's mu (T, n) of the frames (T, H, W, C) of an episode, on V's device."""
    return torch.cat([encode(vae, batch)[0] for batch in torch.from_numpy(frames).split(FRAMES)])
