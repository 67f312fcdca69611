"""The command-line flags of a configuration section, generated from its fields.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import argparse
import dataclasses
import shlex
from collections.abc import Collection
from typing import Any, get_args, get_origin

from worldmodels.runtime.checks import check_value
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.settings import BUDGET, RESULT, Section, config_key, default_of, settable
from worldmodels.runtime.values import from_text, to_text

METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", bool: "true|false", dict: "JSON"}


def flag_name(cls: type[Section], f: dataclasses.Field) -> str:
    """Return the command-line flag of a field."""
    return f"--{cls.prefix}{config_key(f).replace('_', '-')}"


def role_flags(section: Section, roles: tuple[str, ...] = (RESULT, BUDGET)) -> str:
    """Return the fields of these roles as flags, see `flags_text`."""
    return flags_text(section, [f.name for f in settable(type(section)) if f.metadata["role"] in roles])


def flags_text(section: Section, names: Collection[str]) -> str:
    """Return the fields of these names as shell-quoted `--flag value` pairs, sorted.

    Equal values give equal text, however the configuration spells them.
    """
    pairs = {flag_name(type(section), f): getattr(section, f.name) for f in settable(type(section)) if f.name in names}
    return " ".join(as_flag(name, value) for name, value in sorted(pairs.items()))


def as_flag(name: str, value: Any) -> str:
    """Return a shell-quoted `--flag value`, with = where argparse would take the value for a flag."""
    separator = "=" if isinstance(value, str) and value.startswith("-") else " "
    return f"{name}{separator}{shlex.quote(to_text(value))}"


def parse_flag(f: dataclasses.Field, text: str, name: str) -> Any:
    """Return the value of a flag.

    Args:
        f: the flag's field.
        text: what stands on the command line: text unchanged, any other value as JSON.
        name: the flag, for the message.

    Raises:
        UserError: the field takes no such value.
    """
    if f.type is str:
        return check_value(f, text, name)
    try:
        value = from_text(text)
    except ValueError:
        value = text
    return check_value(f, value, name)


class FlagReader:
    """The `type` of a flag in argparse: turns its text into a value and words its errors."""

    def __init__(self, f: dataclasses.Field, name: str) -> None:
        self.field, self.name = f, name

    def __call__(self, text: str) -> Any:
        """Return the value of the flag, or raise ArgumentTypeError."""
        try:
            return parse_flag(self.field, text, self.name)
        except UserError as error:  # argparse puts the flag's name in front
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{self.name}: ")) from None


def metavar(f: dataclasses.Field) -> str:
    """Return what stands for a flag's value in --help."""
    if f.metadata["metavar"]:
        return f.metadata["metavar"]
    if f.metadata["choices"] and f.type is str:
        return "|".join(f.metadata["choices"])
    items = get_args(f.type) if get_origin(f.type) is list else ()
    return f"{METAVARS[items[0]]}-LIST" if items else METAVARS[f.type]


class SwitchAction(argparse.Action):
    """A flag that is true or false: --flag, --flag true, --flag false and --no-flag.

    The workflow writes `--flag true`, as it writes every other value.
    """

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Store the value of the flag."""
        if (option_string or "").startswith("--no-"):
            if values is not True:
                parser.error(f"argument {option_string}: expected no value, found {to_text(values)}")
            values = False
        setattr(namespace, self.dest, values)


def switch_names(name: str) -> list[str]:
    """Return the flags of a switch: --noreload has no opposite, since --no-noreload would be a riddle."""
    return [name] if name.startswith("--no") else [name, f"--no-{name[2:]}"]


def add_flags(parser: argparse.ArgumentParser, cls: type[Section]) -> None:
    """Add a flag for each field of a section, with the field's help, default and checks."""
    group = parser.add_argument_group(f"settings of {cls.section or 'the run'}")
    for f in settable(cls):
        name, default = flag_name(cls, f), default_of(f)
        names, kind = [name], {}
        if f.type is bool:
            names, kind = switch_names(name), {"action": SwitchAction, "nargs": "?", "const": True}
        group.add_argument(
            *names,
            dest=f"{cls.section}.{f.name}",
            type=FlagReader(f, name),
            default=default,
            metavar=metavar(f),
            help=f"{f.metadata['help']} Default: {to_text(default) or 'none'}".replace("%", "%%"),
            **kind,
        )


def section_from_args(args: argparse.Namespace, cls: type[Section], **elsewhere: Any) -> Any:
    """Return a section from parsed flags.

    Args:
        args: the flags, see add_flags.
        cls: the section's class.
        elsewhere: values of the fields that are configured elsewhere.
    """
    return cls(**{f.name: getattr(args, f"{cls.section}.{f.name}") for f in settable(cls)}, **elsewhere)
