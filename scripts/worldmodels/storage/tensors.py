"""Checkpoints as .safetensors: tensors in a plain format, and all other values as JSON in its header. No pickle."""

import json
from typing import Any

import torch
from safetensors.torch import load, save

HEADER = "checkpoint"  # the entry of the header with the values that are no tensors
WEIGHTS = "state_dict"  # its tensors keep their own names


def to_safetensors(content: dict) -> bytes:
    """Return a checkpoint as the bytes of a .safetensors file. The same content gives the same bytes.

    Args:
        content: the state_dict, further dictionaries of tensors, and values that JSON knows.
    """
    tensors, values, groups = {}, {}, {}
    for key, value in content.items():
        if is_group(value):
            groups[key] = list(value)
            tensors |= {stored_name(key, name): tensor.contiguous().clone() for name, tensor in value.items()}
        else:
            values[key] = value
    return save(tensors, {HEADER: json.dumps({"values": values, "groups": groups})})


def stored_name(key: str, name: str) -> str:
    """Return the name in the file of a tensor in the dictionary with this key."""
    return name if key == WEIGHTS else f"{key}.{name}"


def is_group(value: Any) -> bool:
    """Return whether a value is a dictionary of tensors."""
    return isinstance(value, dict) and any(isinstance(item, torch.Tensor) for item in value.values())


def from_safetensors(data: bytes) -> dict:
    """Return the checkpoint in the bytes of a .safetensors file, its tensors on the CPU.

    A file of another program has no header of ours. All its tensors are then the state_dict.

    Raises:
        ValueError: the bytes are damaged. So does safetensors with an error of its own.
    """
    tensors = load(data)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    if HEADER not in header:
        return {WEIGHTS: tensors}
    content = json.loads(header[HEADER])
    groups = {
        key: {name: tensors[stored_name(key, name)] for name in names} for key, names in content["groups"].items()
    }
    return {**content["values"], **groups}
