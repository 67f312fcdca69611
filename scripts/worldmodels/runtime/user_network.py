"""A user's own network V: its class, and checks of what it returns."""

from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import nn

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.library import PACKAGE
from worldmodels.runtime.user_errors import describe_error, user_code
from worldmodels.runtime.user_modules import load_module

Network = TypeVar("Network", bound=nn.Module)


def user_network_code(vae: nn.Module) -> AbstractContextManager:
    """Return a context in which the errors of a user's own V name it; see user_code."""
    cls = type(vae)
    if cls.__module__.partition(".")[0] == PACKAGE.name:
        return nullcontext()
    return user_code(f"vae.model: {cls.__module__}:{cls.__qualname__}")


def load_network_class(model: str, base: type[Network]) -> type[Network]:
    """Return the class that vae.model names as module:Class.

    Args:
        base: the class that it has to be made of.

    Raises:
        UserError: there is no such class, or it is not made of base.
    """
    module, _, name = model.partition(":")
    expected = (
        f"vae.model: expected ConvVAE or module:Class, a class made of worldmodels.models.vae.VAE, found {model!r}"
    )
    if not name:
        raise UserError(expected)
    try:
        cls = getattr(load_module(module), name, None)
    except (ImportError, SystemExit) as error:
        raise UserError(f"{expected} ({describe_error(error.__cause__ or error)})") from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(expected)
    return cls


@torch.no_grad()
def check_network_shapes(vae: nn.Module, model: str) -> None:
    """Raise UserError if the network's outputs are not shaped as they should be."""
    height, width, channels = vae.image_shape
    images = torch.rand(2, channels, height, width)
    given = f"vae.model: {model}, given images shaped {tuple(images.shape)},"
    with user_code(given):
        outputs = vae.encoder(images)
    pair = isinstance(outputs, (tuple, list)) and len(outputs) == 2
    if not pair or not all(isinstance(part, torch.Tensor) for part in outputs):
        raise UserError(f"vae.model: expected the encoder of {model} to give mu and logsigma, found {type(outputs)}")
    mu, logsigma = outputs
    found = {"mu": (mu, (2, vae.latent_size)), "logsigma": (logsigma, (2, vae.latent_size))}
    with user_code(given):
        found["decoder"] = vae.decoder(mu), tuple(images.shape)
    for name, (tensor, shape) in found.items():
        if tuple(tensor.shape) != shape:
            raise UserError(f"vae.model: expected {name} of {model} shaped {shape}, found {tuple(tensor.shape)}")
