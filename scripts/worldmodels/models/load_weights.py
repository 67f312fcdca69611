"""Weights of an earlier or published checkpoint, as those at which the training of V or M starts."""

import torch
from torch import nn

from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import load_checkpoint

# What wrappers of torch put in front of all names, and a name of ctallec/world-models with ours.
PREFIXES = ("_orig_mod.", "module.")
OTHER_NAMES = {"decoder.fc1.": "decoder.fc."}


def load_weights(network: nn.Module, path: str, key: str) -> dict:
    """Load the weights of a checkpoint into a network.

    Args:
        network: V or M.
        path: a file of torch.save or safetensors. It holds the state_dict under this key beside anything else that
            torch reads without unpickling code, or it is the state_dict. Or a checkpoint in a package.
        key: the key of the configuration, for messages.

    Returns:
        The content of the file.

    Raises:
        UserError: the file is missing or damaged, or its parameters do not have the names and shapes of the network's.
    """
    saved = load_checkpoint(path)
    weights = saved.get("state_dict", saved) if isinstance(saved, dict) else None
    if not weights or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise UserError(f"{key}: expected a checkpoint with a state_dict of tensors, found none in {path}")
    weights = {common_name(name): tensor for name, tensor in weights.items()}
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name not in weights:
            raise UserError(f"{key}: expected the parameter {name}, found none in {path}")
        if weights[name].shape != tensor.shape:
            raise UserError(
                f"{key}: expected {name} shaped {tuple(tensor.shape)}, as the configuration and the rollouts make it, "
                f"found {tuple(weights[name].shape)} in {path}"
            )
        if not weights[name].isfinite().all():
            raise UserError(f"{key}: expected finite weights, found NaN or infinity in {name} of {path}")
    if unknown := [name for name in weights if name not in expected]:
        raise UserError(f"{key}: expected no parameter but the network's, found {', '.join(unknown)} in {path}")
    network.load_state_dict(weights)
    return saved


def common_name(name: str) -> str:
    """Return our name of a parameter."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    for other, own in OTHER_NAMES.items():
        name = own + name.removeprefix(other) if name.startswith(other) else name
    return name
