"""Frames to latents: V's encoder."""

import torch

from worldmodels.models.precision import has_bfloat16
from worldmodels.models.vae import VAE, to_images
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.user_network import user_network_code


@torch.inference_mode()
def encode(vae: VAE, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mu and logsigma, (B, latent_size) float32 on V's device, of uint8 frames (B,H,W,C) on any device.

    Raises:
        UserError: V was trained on frames of another shape.
    """
    if frames.shape[1:] != vae.image_shape:
        raise UserError(
            f"env.height, env.width, env.grey: expected frames shaped {vae.image_shape} as V was trained on, "
            f"found {tuple(frames.shape[1:])}"
        )
    device = next(vae.parameters()).device
    images = to_images(frames.to(device, non_blocking=True))
    with user_network_code(vae):
        mu, logsigma = vae.encode_bfloat16(images) if has_bfloat16(device) else vae.encoder(images)
    return mu.float(), logsigma.float()
