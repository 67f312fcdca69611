"""M from its checkpoint."""

from pathlib import Path

import torch

from worldmodels.models.mdrnn import MDRNN
from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import load_checkpoint


def load_mdrnn(path: str | Path, device: torch.device | str = "cpu") -> tuple[MDRNN, dict]:
    """Return the trained network in evaluation mode, and its checkpoint.

    Raises:
        UserError: the checkpoint is missing, damaged or not M's.
    """
    saved = load_checkpoint(path, ("state_dict", "config"))
    try:
        values = {"cell": "lstm", "num_layers": 1} | saved["config"]
        sizes = ("latent_size", "action_size", "hidden_size", "gmm_components", "cell", "num_layers")
        mdrnn = MDRNN(*(values[name] for name in sizes))
        mdrnn.load_state_dict(saved["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: expected M's checkpoint, found another ({str(error).splitlines()[0]})") from None
    return mdrnn.to(device).eval().requires_grad_(False), saved
