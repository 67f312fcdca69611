"""Actions of any kind as flat vectors of numbers: in rollouts, as M's input and as the controller's output.

A Box action of any shape is flattened. A Discrete action is a one-hot vector, and so is each part of a MultiDiscrete
action. A MultiBinary action has -1 or 1 per bit. In the other direction the largest number of a part chooses a discrete
action, and a positive number sets a bit. So the outputs of a network, or smooth noise, become actions of any kind.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.preflight import Actions

Box, Discrete = gym.spaces.Box, gym.spaces.Discrete
MultiBinary, MultiDiscrete = gym.spaces.MultiBinary, gym.spaces.MultiDiscrete

# A bound beyond this is no bound. Some environments give +-3.4e38, whose range does not fit float32.
LARGEST_BOUND = 1e30


class ActionCodec:
    """Converts between the actions of a space and vectors (A,) float32.

    Args:
        space: Box, Discrete, MultiDiscrete or MultiBinary.

    Attributes:
        size: A.
        continuous: whether the vector is the action itself (Box).
        choices: lengths of the one-hot parts, in order; [] for Box and MultiBinary.
        low, high: (A,) float32, bounds of an encoded action; infinite where the bounds of the space are beyond +-1e30.

    Raises:
        UserError: the space is of another kind.
    """

    def __init__(self, space: gym.Space) -> None:
        check_action_space(space)
        self.space = space
        self.continuous = isinstance(space, Box)
        self.choices: list[int] = []
        if isinstance(space, Box):
            low, high = effective_bounds(space)
            if (np.abs([space.low, space.high]) > LARGEST_BOUND).any():
                self.space = Box(low, high, dtype=space.dtype)  # its sample() knows which bounds are none
            self.low, self.high = np.ravel(low).astype(np.float32), np.ravel(high).astype(np.float32)
        elif isinstance(space, MultiBinary):
            bits = int(np.prod(space.shape))
            self.low, self.high = -np.ones(bits, np.float32), np.ones(bits, np.float32)
        else:
            self.choices = np.ravel(space.n if isinstance(space, Discrete) else space.nvec).tolist()
            self.starts = np.ravel(space.start)
            self.low, self.high = np.zeros(sum(self.choices), np.float32), np.ones(sum(self.choices), np.float32)
        self.size = len(self.low)

    def encode(self, action: Any) -> np.ndarray:
        """Return an action of the space as a vector (A,) float32."""
        if self.continuous:
            return np.ravel(action).astype(np.float32)
        if not self.choices:
            return 2 * np.ravel(action).astype(np.float32) - 1
        chosen = np.ravel(action) - self.starts
        return np.concatenate([np.eye(n, dtype=np.float32)[i] for n, i in zip(self.choices, chosen)])

    def decode(self, vector: np.ndarray) -> Any:
        """Return the action of the space that a vector (A,) stands for."""
        space = self.space
        if isinstance(space, Box):
            vector = np.rint(vector) if np.issubdtype(space.dtype, np.integer) else vector
            return vector.reshape(space.shape).astype(space.dtype)
        if isinstance(space, MultiBinary):
            return (vector > 0).astype(space.dtype).reshape(space.shape)
        ends = np.cumsum(self.choices)
        chosen = np.array([np.argmax(part) for part in np.split(vector, ends[:-1])]) + self.starts
        if isinstance(space, Discrete):
            return space.dtype.type(chosen[0])
        return chosen.reshape(space.shape).astype(space.dtype)

    def snap(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the encoded actions (..., A) that are nearest to any numbers (..., A).

        A continuous action is clipped to its bounds. The largest number of a one-hot part becomes 1, the others 0. A
        binary number becomes 1 if it is positive, else -1.
        """
        if self.continuous:
            low, high = (torch.from_numpy(bound).to(outputs) for bound in (self.low, self.high))
            return torch.maximum(torch.minimum(outputs, high), low)
        if not self.choices:
            return torch.where(outputs > 0, 1.0, -1.0).to(outputs.dtype)
        parts = outputs.split(self.choices, dim=-1)
        one_hot = [torch.nn.functional.one_hot(part.argmax(-1), part.shape[-1]) for part in parts]
        return torch.cat(one_hot, dim=-1).to(outputs.dtype)

    @property
    def summary(self) -> Actions:
        """What the settings of C are checked against."""
        bounded = self.bounded.tolist() if self.continuous else []
        return Actions(str(self.space), self.size, self.continuous, bounded)

    @property
    def center(self) -> np.ndarray:
        """(A,) float32, the middle between finite bounds; 0 without bounds and for choices."""
        low, high = np.where(self.bounded, self.low, 0.0), np.where(self.bounded, self.high, 0.0)
        return ((high + low) / 2).astype(np.float32)

    @property
    def half_range(self) -> np.ndarray:
        """(A,) float32, half the distance between finite bounds; 1 without bounds and for choices."""
        low, high = np.where(self.bounded, self.low, -1.0), np.where(self.bounded, self.high, 1.0)
        return ((high - low) / 2).astype(np.float32)

    @property
    def bounded(self) -> np.ndarray:
        """(A,) bool, whether the number is continuous and has two finite bounds."""
        return np.isfinite(self.low) & np.isfinite(self.high) & self.continuous


def check_action_space(space: gym.Space) -> None:
    """Raise UserError if actions of this space cannot be encoded."""
    if not isinstance(space, (Box, Discrete, MultiDiscrete, MultiBinary)):
        raise UserError(
            f"env.id: expected an action space that is Box, Discrete, MultiDiscrete or MultiBinary, found {space}"
        )


def effective_bounds(space: gym.spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of a space in its shape, infinite where they are beyond +-LARGEST_BOUND."""
    low = np.where(space.bounded_below & (space.low >= -LARGEST_BOUND), space.low, -np.inf)
    high = np.where(space.bounded_above & (space.high <= LARGEST_BOUND), space.high, np.inf)
    return low, high
