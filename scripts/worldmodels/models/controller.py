"""C: the controller (paper, section 2.4)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn


class Controller(nn.Module):
    """Latent (B,n), hidden (B,H) -> outputs (B,A), not yet within the actions' bounds: one linear layer.

    Call it with names, as controller(z=z, h=h): a tensor does not tell whether it is z or h, so the names do.

    Args:
        features: what it is shown, in this order, see ctrl.features.
        hidden: widths of hidden layers, with tanh; none in the paper's agent.
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
        self.features = features
        sizes = {"z": latent_size, "h": hidden_size, "c": hidden_size}
        self.sizes = {name: sizes[name] for name in features}
        widths = [sum(self.sizes.values()), *hidden]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.fc = nn.Linear(widths[-1], action_size)

    @property
    def layers(self) -> list[nn.Linear]:
        return [*self.hidden, self.fc]

    def forward(self, *state: torch.Tensor, **parts: torch.Tensor) -> torch.Tensor:
        """Return the outputs (B,A).

        Args:
            parts: what the controller is shown, by name and in any order: z (B,n), h and c (B,H).
            state: instead, the parts as one tensor (B,n+H), already concatenated in the order of `features`, [z, h].

        Raises:
            TypeError: a part is missing or not one of `features`, or several tensors came without names.
            ValueError: a tensor has another size.
        """
        if not state:
            x = self.concatenate(**parts)
        elif len(state) == 1 and not parts:
            x = state[0]
            if x.shape[-1] != sum(self.sizes.values()):
                raise ValueError(f"expected a state of {self.shape_text()}, found {x.shape[-1]}")
        else:
            raise TypeError(
                f"expected {self.call_text()}, or one tensor, found {len(state)} tensors without names"
                + (f", beside {', '.join(parts)}" if parts else "")
            )
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.fc(x)

    def concatenate(self, **parts: torch.Tensor) -> torch.Tensor:
        """Return the parts, see `forward`, as one tensor (B,n+H) in the order of `features`."""
        if parts.keys() != self.sizes.keys():
            raise TypeError(f"expected {self.call_text()}, found {', '.join(parts) or 'nothing'}")
        for name, size in self.sizes.items():
            if parts[name].shape[-1] != size:
                raise ValueError(f"expected {name} of {size} numbers, found {parts[name].shape[-1]}")
        return torch.cat([parts[name] for name in self.sizes], dim=-1)

    def call_text(self) -> str:
        return f"controller({', '.join(f'{name}={name}' for name in self.sizes)})"

    def shape_text(self) -> str:
        sizes = " + ".join(f"{size} ({name})" for name, size in self.sizes.items())
        return f"{sizes} numbers"


class ManyControllers:
    """Controllers of one shape, each acting for itself, evaluated as one batched product a layer.

    Args:
        parameters: (B, P), a controller's a row.
        like: a controller of their shape.
    """

    def __init__(self, parameters: torch.Tensor, like: Controller) -> None:
        self.concatenate = like.concatenate
        self.layers, start = [], 0
        for layer in like.layers:
            rows, columns = layer.weight.shape
            matrix, bias, _ = parameters[:, start:].tensor_split((rows * columns, rows * columns + rows), dim=1)
            self.layers.append((matrix.unflatten(1, (rows, columns)), bias.unsqueeze(-1)))
            start += rows * columns + rows

    def act(self, which: np.ndarray | slice, **parts: torch.Tensor) -> torch.Tensor:
        """The outputs (k, A) of these controllers (k,), each on its own row of the parts (k, ...), given by name."""
        x = self.concatenate(**parts).unsqueeze(-1)
        for i, (matrix, bias) in enumerate(self.layers):
            x = torch.baddbmm(bias[which], matrix[which], x.tanh() if i else x)
        return x.squeeze(-1)


def flatten_parameters(module: nn.Module) -> np.ndarray:
    """All parameters in one float64 vector (P,), in the order of module.parameters()."""
    return np.concatenate([p.detach().cpu().double().numpy().ravel() for p in module.parameters()])


def load_parameters(vector: np.ndarray, module: nn.Module) -> None:
    """The reverse of flatten_parameters."""
    expected = sum(p.numel() for p in module.parameters())
    if len(vector) != expected:
        raise ValueError(f"expected a vector of {expected} parameters, found {len(vector)}")
    torch.nn.utils.vector_to_parameters(
        torch.as_tensor(vector, dtype=next(module.parameters()).dtype), module.parameters()
    )
