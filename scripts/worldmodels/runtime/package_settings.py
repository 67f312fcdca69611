"""The settings that a package fixes, for a run that takes over its agent and for a program that reads it.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import argparse
from typing import Any

from worldmodels.runtime.config import SECTIONS, EnvConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.packages import find_package
from worldmodels.runtime.settings import config_key, default_of, settable

# What V sees, what the actions are, and the shapes of the networks.
FIXED = {
    "env": ("id", "kwargs", "import", "height", "width", "crop", "grey", "frame_skip", "max_episode_steps", "frames"),
    "vae": ("model", "latent_size"),
    "mdrnn": ("cell", "hidden_size", "num_layers"),
    "ctrl": ("features", "hidden", "squash"),
}


def adopt(section: str, given: dict, own: dict, package: str) -> dict[str, Any]:
    """Return the values of FIXED that hold for a section beside a package.

    Args:
        section: the section's name.
        given: the values of the configuration; defaults may be left out.
        own: the values of the package. It may leave some out.
        package: its path, for the message.

    Raises:
        UserError: a given value is neither the default nor the package's.
    """
    fields = {config_key(f): f for f in settable(SECTIONS[section])}
    adopted = {key: own[key] for key in FIXED[section] if key in own}
    for key, value in adopted.items():
        default = default_of(fields[key])
        found = given.get(key, default)
        if found not in (default, value):
            raise UserError(
                f"{section}.{key}: expected {value!r}, as {package} has it, or the default, found {found!r}"
            )
    return adopted


def adopt_env(args: argparse.Namespace) -> None:
    """Set the flags of the environment as the package in --logdir has them. Any other --logdir changes nothing.

    Raises:
        UserError: the package is damaged, or a flag is neither the default nor the package's.
    """
    flags = {config_key(f): f"env.{f.name}" for f in settable(EnvConfig)}
    logdir = getattr(args, ".logdir", None)
    if not logdir or not hasattr(args, "env.id"):
        return
    if package := find_package(logdir):
        given = {key: getattr(args, flag) for key, flag in flags.items()}
        for key, value in adopt("env", given, package.config["env"], logdir).items():
            setattr(args, flags[key], value)
