"""Flags whose defaults are what a finished run was made with."""

import argparse
import json
import shlex
from pathlib import Path

from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.program import run_config_from_args
from worldmodels.runtime.settings import settable


def take_env_of_run(parser: argparse.ArgumentParser) -> None:
    """Make the environment of the run in --logdir the default of the parser's flags --env-*.

    A run that was made by hand has no record of it: then the defaults stay. For packages see package_settings.

    Args:
        parser: has the flags of EnvConfig.
    """
    args, _ = parser.parse_known_args()
    try:
        env = recorded_env(parser, run_config_from_args(args).logdir)
    except (OSError, ValueError, KeyError, TypeError, UserError):  # what is wrong with the run is said later
        return
    parser.set_defaults(**{f"{env.section}.{f.name}": getattr(env, f.name) for f in settable(EnvConfig)})


def recorded_env(parser: argparse.ArgumentParser, logdir: str) -> EnvConfig:
    """Return the environment in the flags that the workflow made a run's C with, as C's summary has them."""
    summary = json.loads(Path(logdir, "ctrl/best.json").read_text(encoding="utf-8"))
    args, _ = parser.parse_known_args(shlex.split(summary["origin"]["options"]))
    return section_from_args(args, EnvConfig)
