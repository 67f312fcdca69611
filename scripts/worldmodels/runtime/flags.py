"""The command-line flags of a configuration section, generated from its fields.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import argparse
import dataclasses
import shlex
from collections.abc import Collection
from typing import Any

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.settings import BUDGET, RESULT, Section, check_value, config_key, settable
from worldmodels.runtime.values import from_text, to_text


def flag_name(cls: type[Section], f: dataclasses.Field) -> str:
    """The command-line flag of a field."""
    return f"--{cls.prefix}{config_key(f).replace('_', '-')}"


def role_flags(section: Section, roles: tuple[str, ...] = (RESULT, BUDGET)) -> str:
    """The fields of these roles as flags, see `flags`."""
    return flags_text(section, [f.name for f in settable(type(section)) if f.metadata["role"] in roles])


def flags_text(section: Section, names: Collection[str]) -> str:
    """These fields as shell-quoted `--flag value` pairs, sorted: one value, one spelling, whatever YAML said."""
    pairs = {flag_name(type(section), f): getattr(section, f.name) for f in settable(type(section)) if f.name in names}
    return " ".join(as_flag(name, value) for name, value in sorted(pairs.items()))


def as_flag(name: str, value: Any) -> str:
    """A shell-quoted `--flag value`, with = where the value would be taken for a flag."""
    between = "=" if isinstance(value, str) and value.startswith("-") else " "
    return f"{name}{between}{shlex.quote(to_text(value))}"


def parse_flag(f: dataclasses.Field, text: str, name: str) -> Any:
    if f.type is str:
        return check_value(f, text, name)
    try:
        value = from_text(text)
    except ValueError:
        value = text
    return check_value(f, value, name)


def add_flags(parser: argparse.ArgumentParser, cls: type[Section]) -> None:
    """Add one flag a field, with the field's help, default and checks."""

    def reader(f: dataclasses.Field, name: str):
        def read(text: str) -> Any:
            try:
                return parse_flag(f, text, name)
            except UserError as error:
                raise argparse.ArgumentTypeError(str(error).removeprefix(f"{name}: ")) from None

        return read

    group = parser.add_argument_group(f"options of {cls.section or 'the run'}")
    for f in settable(cls):
        default = f.default if f.default is not dataclasses.MISSING else f.default_factory()
        name = flag_name(cls, f)
        group.add_argument(
            name,
            dest=f"{cls.section}.{f.name}",
            type=reader(f, name),
            default=default,
            metavar="|".join(f.metadata["choices"]) if f.metadata["choices"] else "VALUE",
            help=f"{f.metadata['help']} (default: {to_text(default)})".replace("%", "%%"),
        )


def section_from_args(args: argparse.Namespace, cls: type[Section], **others: Any) -> Any:
    """The dataclass from parsed flags; `others` are the fields configured elsewhere."""
    return cls(**{f.name: getattr(args, f"{cls.section}.{f.name}") for f in settable(cls)}, **others)
