"""V from its checkpoint."""

from pathlib import Path

import torch

from worldmodels.models.vae import VAE, make_vae
from worldmodels.runtime.config import user_network_modules
from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import load_checkpoint


def user_network_of(path: str | Path) -> dict[str, str]:
    """Return the user's own network that a trained V is made of, as config.user_network_modules does."""
    return user_network_modules(load_checkpoint(path, ("config",))["config"].get("model", "ConvVAE"))


def load_vae(path: str | Path, device: torch.device | str = "cpu") -> tuple[VAE, dict]:
    """Return the trained network in evaluation mode, and its checkpoint.

    Raises:
        UserError: the checkpoint is missing, damaged or not V's.
    """
    saved = load_checkpoint(path, ("state_dict", "config"))
    try:
        values = {"model": "ConvVAE", "height": 64, "width": 64} | saved["config"]
        vae = make_vae(*(values[key] for key in ("model", "img_channels", "latent_size", "height", "width")))
        vae.load_state_dict(saved["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: expected V's checkpoint, found another ({str(error).splitlines()[0]})") from None
    return vae.to(device).eval().requires_grad_(False), saved
