"""World Models (Ha & Schmidhuber, 2018): the library that the workflow's programs share, in packages by subject.

The names that a notebook needs most are here, too: see docs/library.md.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazily(package: str, modules: dict[str, list[str]]) -> tuple[Callable[[str], Any], list[str]]:
    """Return `__getattr__` and `__all__` of a package that exports names of its modules.

    A module is imported when one of its names is first used: so a dry run imports no torch, and V's training no
    gymnasium.

    Args:
        package: the package's full name.
        modules: module -> the names that it gives to the package.
    """
    home = {name: module for module, names in modules.items() for name in names}

    def load_name(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return load_name, sorted(home)


__getattr__, __all__ = lazily(
    __name__,
    {
        "runtime": ["EnvConfig", "RolloutsConfig", "UserError", "WMControllerConfig", "WMMDNRNNConfig", "WMVAEConfig"],
        "envs": ["ActionCodec", "frames_for_v"],
        "models": [
            "MDRNN",
            "VAE",
            "Controller",
            "ConvVAE",
            "ConvVAEDecoder",
            "ConvVAEEncoder",
            "MDRNNCell",
            "conv_vae_loss_fn",
            "decode",
            "encode",
            "flatten_parameters",
            "get_loss",
            "gmm_loss",
            "load_parameters",
        ],
        "playing": ["AgentPlayer", "WorldModel", "dream", "load_agent", "load_world_model", "sample_latent", "watch"],
        "data": [
            "LatentSequenceDataset",
            "ObservationDataset",
            "RolloutDataset",
            "SequenceDataset",
            "generate_rollouts",
            "precompute_latents",
        ],
        "training": ["EarlyStopping"],
    },
)


def __dir__() -> list[str]:
    """Return the names that a notebook completes."""
    return [*globals(), *__all__]
