"""A user's own network V: its class, its errors, and checks of what it returns."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import nn

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.library import PACKAGE
from worldmodels.runtime.user_errors import describe_error, user_code
from worldmodels.runtime.user_modules import load_module

Network = TypeVar("Network", bound=nn.Module)


def user_network_code(vae: nn.Module) -> AbstractContextManager:
    """Return a context in which the errors of a user's own V name its class; see user_errors.user_code."""
    cls = type(vae)
    if cls.__module__.partition(".")[0] == PACKAGE.name:
        return nullcontext()
    return user_code(f"vae.model: {cls.__module__}:{cls.__qualname__}")


def load_network_class(model: str, base: type[Network]) -> type[Network]:
    """Return the class that vae.model names.

    Args:
        model: `module:Class`.
        base: the base of the class.

    Raises:
        UserError: there is no such class, or it is not derived from base.
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
    """Run a user's own network on two random images and check what it returns.

    Args:
        vae: the network, with `image_shape` (height, width, channels) and `latent_size`.
        model: its name in the configuration, `module:Class`.

    Raises:
        UserError: the encoder does not return mu and logsigma of shape (2, latent_size), or the decoder no images of
            shape (2, channels, height, width), or the network raises an error.
    """
    height, width, channels = vae.image_shape
    images = torch.rand(2, channels, height, width)
    subject = f"vae.model: {model}, given images shaped {tuple(images.shape)},"
    with user_code(subject):
        outputs = vae.encoder(images)
    is_pair = isinstance(outputs, (tuple, list)) and len(outputs) == 2
    if not is_pair or not all(isinstance(output, torch.Tensor) for output in outputs):
        raise UserError(f"vae.model: expected the encoder of {model} to give mu and logsigma, found {type(outputs)}")
    mu, logsigma = outputs
    with user_code(subject):
        reconstruction = vae.decoder(mu)
    check_shape("mu", mu, (2, vae.latent_size), model)
    check_shape("logsigma", logsigma, (2, vae.latent_size), model)
    check_shape("decoder", reconstruction, tuple(images.shape), model)


def check_shape(name: str, tensor: torch.Tensor, shape: tuple[int, ...], model: str) -> None:
    """Raise UserError if an output of a user's own network has another shape than this."""
    if tuple(tensor.shape) != shape:
        raise UserError(f"vae.model: expected {name} of {model} shaped {shape}, found {tuple(tensor.shape)}")


@contextmanager
def constructing_network(model: str, shape: tuple[int, ...]) -> Iterator[None]:
    """Return a context in which a network that does not suit the images' shape (H, W, C) raises UserError."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise UserError(f"vae.model: {model} cannot be made for images shaped {shape}: {error}") from None
