"""Flags whose defaults are what a finished run was made with."""

import argparse
import json
import shlex
from pathlib import Path

from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.program import run_config_from_args
from worldmodels.runtime.settings import settable


def take_env_of_run(parser: argparse.ArgumentParser) -> None:
    """Make the environment of the run in --logdir the default of the parser's flags --env-*.

    A summary says what the workflow made its product with. A run that was made by hand has no such record: then the
    defaults stay.

    Args:
        parser: has the flags of EnvConfig.
    """
    args, _ = parser.parse_known_args()
    options = recorded_options(args)
    if options:
        recorded, _ = parser.parse_known_args(shlex.split(options))
        names = [f"{EnvConfig.section}.{f.name}" for f in settable(EnvConfig)]
        parser.set_defaults(**{name: getattr(recorded, name) for name in names})


def recorded_options(args: argparse.Namespace) -> str:
    """Return the flags that C was made with, as its summary has them; "" if it has none or cannot be read."""
    try:
        logdir = run_config_from_args(args).logdir
        return json.loads(Path(logdir, "ctrl/best.json").read_text(encoding="utf-8"))["origin"]["options"]
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return ""
