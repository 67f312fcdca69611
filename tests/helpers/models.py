"""Models with random weights."""

import torch

from worldmodels.models.mdrnn import MDRNN, to_cell
from worldmodels.models.vae import ConvVAE
from worldmodels.playing.agent import WorldModel


def untrained_world(cell: str = "lstm", layers: int = 1, size: int = 64) -> WorldModel:
    """Return V of 8 latents and M of 16 units for images of `size` pixels a side and 3 actions."""
    torch.manual_seed(0)
    vae = ConvVAE(3, 8, size, size).eval().requires_grad_(False)
    mdrnn = MDRNN(8, 3, 16, 2, cell, layers).eval().requires_grad_(False)
    return WorldModel(vae, to_cell(mdrnn).requires_grad_(False), torch.device("cpu"), 0)


def random_batch(steps: int = 6, size: int = 2) -> dict[str, torch.Tensor]:
    """Return a batch of sequences (steps, size) for an M of 32 latents and 3 actions."""
    torch.manual_seed(0)
    latents = torch.randn(steps + 1, size, 32)
    return {
        "latents": latents[:-1],
        "actions": torch.randn(steps, size, 3),
        "rewards": torch.randn(steps, size),
        "terminals": (torch.rand(steps, size) > 0.5).float(),
        "next_latents": latents[1:],
    }
