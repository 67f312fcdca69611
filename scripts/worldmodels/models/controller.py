"""C: the controller (paper, section 2.4)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn


class Controller(nn.Module):
    """C: a linear layer from z and M's hidden state to the actions' numbers, before they are squashed to their bounds.

    Call it with names, as controller(z=z, h=h), because a tensor does not say whether it is z or h.

    Args:
        latent_size, hidden_size, action_size: sizes of z, of h and c, and of the outputs, A.
        features: the inputs in their order, see ctrl.features.
        hidden: widths of hidden layers with tanh. The paper's agent has none.

    Attributes:
        latent_size, hidden_size, action_size, features: as given.
        sizes: of the inputs, by name, in the order of `features`.
    """

    def __init__(
        self,
        latent_size: int,
        hidden_size: int,
        action_size: int,
        features: str = "zh",
        hidden: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.latent_size, self.hidden_size, self.action_size = latent_size, hidden_size, action_size
        self.features = features
        sizes = {"z": latent_size, "h": hidden_size, "c": hidden_size}
        self.sizes = {name: sizes[name] for name in features}
        widths = [sum(self.sizes.values()), *hidden]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.fc = nn.Linear(widths[-1], action_size)

    @property
    def layers(self) -> list[nn.Linear]:
        """All layers, the output layer last."""
        return [*self.hidden, self.fc]

    def forward(self, *state: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        """Return the outputs (B,A).

        Args:
            named: the inputs by name and in any order: z (B,n), h and c (B,H).
            state: instead, the inputs as one tensor (B,n+H), concatenated in the order of `features`, [z, h].

        Raises:
            TypeError: an input is missing or not one of `features`, or several tensors came without names.
            ValueError: a tensor has another size.
        """
        if not state:
            x = self.concatenate(**named)
        elif len(state) == 1 and not named:
            x = state[0]
            if x.shape[-1] != sum(self.sizes.values()):
                raise ValueError(f"expected a state of {self.shape_text()}, found {x.shape[-1]}")
        else:
            raise TypeError(
                f"expected {self.call_text()}, or one tensor, found {len(state)} tensors without names"
                + (f", beside {', '.join(named)}" if named else "")
            )
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.fc(x)

    def concatenate(self, **named: torch.Tensor) -> torch.Tensor:
        """Return the named inputs of `forward` as one tensor (B,n+H) in the order of `features`.

        Raises:
            TypeError: an input is missing or not one of `features`.
            ValueError: a tensor has another size.
        """
        if named.keys() != self.sizes.keys():
            raise TypeError(f"expected {self.call_text()}, found {', '.join(named) or 'nothing'}")
        for name, size in self.sizes.items():
            if named[name].shape[-1] != size:
                raise ValueError(f"expected {name} of {size} numbers, found {named[name].shape[-1]}")
        return torch.cat([named[name] for name in self.sizes], dim=-1)

    def call_text(self) -> str:
        """Return how to call the controller, for messages."""
        return f"controller({', '.join(f'{name}={name}' for name in self.sizes)})"

    def shape_text(self) -> str:
        """Return the sizes of the inputs, for messages."""
        sizes = " + ".join(f"{size} ({name})" for name, size in self.sizes.items())
        return f"{sizes} numbers"


class ManyControllers:
    """Many controllers of one shape, evaluated together with one batched product per layer.

    Args:
        parameters: (B, P), a row per controller, in the order of flatten_parameters.
        like: a controller of the same shape.
    """

    def __init__(self, parameters: torch.Tensor, like: Controller) -> None:
        self.concatenate = like.concatenate
        self.layers, start = [], 0
        for layer in like.layers:
            rows, columns = layer.weight.shape
            matrix, bias, _ = parameters[:, start:].tensor_split((rows * columns, rows * columns + rows), dim=1)
            self.layers.append((matrix.unflatten(1, (rows, columns)), bias.unsqueeze(-1)))
            start += rows * columns + rows

    def act(self, rows: np.ndarray | slice, **named: torch.Tensor) -> torch.Tensor:
        """Return the outputs (k, A) of some controllers, each for its own inputs.

        Args:
            rows: the controllers, (k,).
            named: their inputs by name, (k, ...) each, see Controller.forward.
        """
        x = self.concatenate(**named).unsqueeze(-1)
        for i, (matrix, bias) in enumerate(self.layers):
            x = torch.baddbmm(bias[rows], matrix[rows], x.tanh() if i else x)
        return x.squeeze(-1)


def flatten_parameters(module: nn.Module) -> np.ndarray:
    """Return all parameters as one float64 vector (P,), in the order of module.parameters()."""
    return np.concatenate([p.detach().cpu().double().numpy().ravel() for p in module.parameters()])


def load_parameters(vector: np.ndarray, module: nn.Module) -> None:
    """Set all parameters from a vector (P,), as flatten_parameters returns it.

    Raises:
        ValueError: the vector has another length.
    """
    expected = sum(p.numel() for p in module.parameters())
    if len(vector) != expected:
        raise ValueError(f"expected a vector of {expected} parameters, found {len(vector)}")
    torch.nn.utils.vector_to_parameters(
        torch.as_tensor(vector, dtype=next(module.parameters()).dtype), module.parameters()
    )
