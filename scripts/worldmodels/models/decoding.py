"""Latents to frames: V's decoder."""

import numpy as np
import torch

from worldmodels.models.vae import VAE
from worldmodels.runtime.user_network import user_network_code


@torch.inference_mode()
def decode(vae: VAE, latents: torch.Tensor) -> np.ndarray:
    """Return the frames (N,H,W,C) uint8 of latents (N,n) on any device."""
    device = next(vae.parameters()).device
    with user_network_code(vae):
        images = torch.cat([vae.decoder(batch.to(device)) for batch in latents.split(256)])
    return images.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
