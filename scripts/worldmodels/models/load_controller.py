"""C with fresh weights, and C from its checkpoint."""

from pathlib import Path

from worldmodels.models.controller import Controller
from worldmodels.models.mdrnn import MDRNNCell
from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import load_checkpoint


def make_controller(config: dict, cell: MDRNNCell | None = None) -> Controller:
    """Return a controller with fresh weights.

    Args:
        config: of a checkpoint, with all sizes, or the section ctrl, whose sizes come from the cell.
        cell: M, which says the sizes of z, of the hidden state and of the actions.

    Raises:
        UserError: the controller is shown c, which M does not have.
    """
    sizes = {"features": "zh", "hidden": []} | config
    if cell is not None:
        sizes |= {"latent_size": cell.latents, "hidden_size": cell.hiddens, "action_size": cell.actions}
        if "c" in sizes["features"] and cell.cell == "gru":
            raise UserError("ctrl.features: expected z, h or zh, since M is a GRU, which has no c, found 'zhc'")
    return Controller(*(sizes[key] for key in ("latent_size", "hidden_size", "action_size", "features", "hidden")))


def load_controller(path: str | Path) -> tuple[Controller, dict]:
    """Return the trained controller in evaluation mode, and its checkpoint.

    Raises:
        UserError: the checkpoint is missing, damaged or not C's.
    """
    saved = load_checkpoint(path, ("state_dict", "config"))
    try:
        controller = make_controller(saved["config"])
        controller.load_state_dict(saved["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: expected C's checkpoint, found another ({str(error).splitlines()[0]})") from None
    return controller.eval().requires_grad_(False), saved
