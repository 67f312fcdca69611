"""Actions of any kind as flat vectors of numbers: what rollouts keep, M is fed and the controller gives.

A Box of any shape is its numbers, flattened; of Discrete and each part of MultiDiscrete there is a one-hot vector, of
MultiBinary -1 or 1 each. The other way, a discrete action is the largest of its numbers, a binary one is a positive
number: so the outputs of a network and smooth noise become actions of any kind.
"""

import gymnasium as gym
import numpy as np
import torch

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.preflight import Actions

Box, Discrete = gym.spaces.Box, gym.spaces.Discrete
MultiBinary, MultiDiscrete = gym.spaces.MultiBinary, gym.spaces.MultiDiscrete

# Bounds beyond this mean none: some environments say +-3.4e38, and the range between those is no float32.
ENDLESS = 1e30


class ActionCodec:
    """Between the actions of a space and vectors (A,) float32.

    Attributes:
        size: A.
        continuous: whether the vector is the action itself (Box).
        choices: lengths of the one-hot parts, in order; none for Box and MultiBinary.
        low, high: (A,) float32, bounds of an encoded action; infinite where those of the space are beyond +-1e30.

    Raises:
        UserError: the space is none of Box, Discrete, MultiDiscrete, MultiBinary.
    """

    def __init__(self, space: gym.Space) -> None:
        self.space, self.choices = space, []
        self.continuous = isinstance(space, Box)
        if isinstance(space, Box):
            low = np.where(space.bounded_below & (space.low >= -ENDLESS), space.low, -np.inf)
            high = np.where(space.bounded_above & (space.high <= ENDLESS), space.high, np.inf)
            if (np.abs([space.low, space.high]) > ENDLESS).any():
                self.space = Box(low, high, dtype=space.dtype)  # which samples as of a space without bounds
            self.low, self.high = (np.ravel(bound).astype(np.float32) for bound in (low, high))
        elif isinstance(space, (Discrete, MultiDiscrete)):
            self.choices = np.ravel(space.n if isinstance(space, Discrete) else space.nvec).tolist()
            self.starts = np.ravel(space.start)
            self.low, self.high = np.zeros(sum(self.choices), np.float32), np.ones(sum(self.choices), np.float32)
        elif isinstance(space, MultiBinary):
            count = int(np.prod(space.shape))
            self.low, self.high = -np.ones(count, np.float32), np.ones(count, np.float32)
        else:
            raise UserError(
                f"env.id: expected an action space that is Box, Discrete, MultiDiscrete or MultiBinary, found {space}"
            )
        self.size = len(self.low)

    def encode(self, action) -> np.ndarray:
        """An action of the space as a vector (A,) float32."""
        if self.continuous:
            return np.ravel(action).astype(np.float32)
        if not self.choices:
            return 2 * np.ravel(action).astype(np.float32) - 1
        chosen = np.ravel(action) - self.starts
        return np.concatenate([np.eye(n, dtype=np.float32)[i] for n, i in zip(self.choices, chosen)])

    def decode(self, vector: np.ndarray):
        """The action of the space that a vector (A,) stands for."""
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
        """Any numbers (..., A) -> encoded actions (..., A): clipped to bounds, largest of its part, or positive."""
        if self.continuous:
            low, high = (torch.from_numpy(bound).to(outputs) for bound in (self.low, self.high))
            return torch.maximum(torch.minimum(outputs, high), low)
        if not self.choices:
            return torch.where(outputs > 0, 1.0, -1.0).to(outputs.dtype)
        parts = outputs.split(self.choices, dim=-1)
        hot = [torch.nn.functional.one_hot(part.argmax(-1), part.shape[-1]) for part in parts]
        return torch.cat(hot, dim=-1).to(outputs.dtype)

    @property
    def summary(self) -> Actions:
        """What C's settings must suit."""
        bounded = self.bounded.tolist() if self.continuous else []
        return Actions(str(self.space), self.size, self.continuous, bounded)

    @property
    def middle(self) -> np.ndarray:
        """(A,) where smooth noise is centred: between finite bounds; 0 where there are none, and for choices."""
        low, high = (np.where(self.bounded, bound, 0.0) for bound in (self.low, self.high))
        return ((high + low) / 2).astype(np.float32)

    @property
    def reach(self) -> np.ndarray:
        """(A,) how far smooth noise goes from there: half the range; 1 where there is none, and for choices."""
        low, high = (np.where(self.bounded, bound, (-1.0, 1.0)[i]) for i, bound in enumerate((self.low, self.high)))
        return ((high - low) / 2).astype(np.float32)

    @property
    def bounded(self) -> np.ndarray:
        return np.isfinite(self.low) & np.isfinite(self.high) & self.continuous
