"""The device that a program computes on."""

import os

import torch

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log


def worker_device(name: str, number: int) -> torch.device:
    """Return the device of a worker. Where there are several GPUs, workers are assigned to them in turn.

    Args:
        name: the setting `device`.
        number: of the worker, from 0.
    """
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", number % torch.cuda.device_count())
    return torch.device("cpu" if name == "auto" else name)


def choose_device(name: str) -> torch.device:
    """Return the device of this name. `auto` is a GPU where there is one.

    Raises:
        UserError: there is no such device.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and visible:
            log.info("device: the CPU; CUDA_VISIBLE_DEVICES is %s, but this PyTorch finds no GPU", visible)
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device: expected auto or a device that is here, found {name!r} ({str(error).splitlines()[0]})"
        ) from None
    return device
