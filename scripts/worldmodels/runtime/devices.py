"""The device that a program computes on."""

import os

import torch

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log


def worker_device(name: str, number: int) -> torch.device:
    """The device of a worker; where there are several GPUs the workers take turns."""
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", number % torch.cuda.device_count())
    return torch.device("cpu" if name == "auto" else name)


def choose_device(name: str) -> torch.device:
    """The device that this name asks for; `auto` takes a GPU where there is one."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and given:
            log.info("device: the CPU; CUDA_VISIBLE_DEVICES is %s, but this PyTorch finds no GPU", given)
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device: expected auto or a device that is here, found {name!r} ({str(error).splitlines()[0]})"
        ) from None
    return chosen
