"""Sample and reconstruction images during V's training."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from worldmodels.data.datasets import ObservationDataset
from worldmodels.envs import seeding
from worldmodels.models.vae import VAE, to_images
from worldmodels.runtime.user_network import user_network_code
from worldmodels.storage.files import write_atomically


@torch.inference_mode()
def save_samples(vae: VAE, test: ObservationDataset, folder: Path, epoch: int, seed: int) -> None:
    """Write two pictures: up to 8 held-out frames above their reconstructions, and decoded draws from the prior."""
    folder.mkdir(parents=True, exist_ok=True)
    vae.eval()
    device = next(vae.parameters()).device
    frames = next(test.batches(8, seeding.generator(seed, "vae/samples"), 8))
    images = to_images(frames.to(device))
    with user_network_code(vae):
        reconst = vae.decoder(vae.encoder(images)[0])
    save_grid(folder / f"reconstruction_{epoch:04d}.png", torch.cat([images, reconst]), columns=len(frames))
    noise = seeding.generator(seed, "vae/prior").standard_normal((32, vae.latent_size))
    with user_network_code(vae):
        samples = vae.decoder(torch.tensor(noise, dtype=torch.float32, device=device))
    save_grid(folder / f"sample_{epoch:04d}.png", samples, columns=8)


def save_grid(path: Path, images: torch.Tensor, columns: int) -> None:
    """Write images (N,C,H,W) in [0,1] as one PNG with this number of columns."""
    pixels = images.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    rows = [np.concatenate(list(pixels[i : i + columns]), axis=1) for i in range(0, len(pixels), columns)]
    picture = np.concatenate(rows, axis=0)
    image = Image.fromarray(picture if picture.shape[-1] == 3 else picture[..., 0])
    write_atomically(path, lambda file: image.save(file, format="PNG"))
