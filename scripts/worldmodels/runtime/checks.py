"""Checks of the values in a configuration section.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.values import SCALARS

MAX_LEVELS = 50  # of nested values; a mapping that contains itself has infinitely many


def check_value(f: dataclasses.Field, value: Any, name: str) -> Any:
    """Return a value as the type of its field.

    Args:
        f: a field that settings.setting made.
        value: what the configuration or a flag holds.
        name: the key or the flag, for the message.

    Returns:
        The value; whole numbers become floats where the field holds floats.

    Raises:
        UserError: the value has another type, or is out of the field's bounds.
    """
    if value is None and f.metadata["suited"]:
        return value
    kind = get_origin(f.type) or f.type
    if kind is float and type(value) is int:
        value = float(value)
    check_type(f, value, name)
    if kind is dict:
        check_plain(value, name)
    if kind is list:
        value = check_items(f, value, name)
    for item in value if kind is list else [value]:
        check_text(item, name)
        check_choice(item, f.metadata["choices"], name)
        if kind is float and not math.isfinite(item):
            raise UserError(f"{name}: expected a finite number, found {item}")
        check_bounds(item, f.metadata, name)
    return value


def type_text(f: dataclasses.Field) -> str:
    """Return the type of a field in words, as `int` or `list of float`."""
    if get_args(f.type):
        return f"list of {get_args(f.type)[0].__name__}"
    return f.type.__name__


def check_type(f: dataclasses.Field, value: Any, name: str) -> None:
    """Raise UserError if a value is not of its field's type."""
    kind = get_origin(f.type) or f.type
    if type(value) is kind:
        return
    hint = ""
    if kind in (int, float) and isinstance(value, str) and "e" in value.lower():
        hint = " (YAML reads 1e-3 as text: write 1.0e-3)"
    if kind is str and value is not None and not isinstance(value, (dict, list)):
        hint = f" (unquoted, YAML reads it as no text: quote it, with --config in two kinds, as '{name}=\"...\"')"
    raise UserError(f"{name}: expected {type_text(f)}, found {value!r}{hint}")


def check_items(f: dataclasses.Field, values: list, name: str) -> list:
    """Return a list with its items as the field's item type, or raise UserError."""
    item_type = get_args(f.type)[0]
    if item_type is float:
        values = [float(value) if type(value) is int else value for value in values]
    for value in values:
        if type(value) is not item_type:
            raise UserError(f"{name}: expected a {type_text(f)}, found {value!r} in it")
    return values


def check_text(value: Any, name: str) -> None:
    """Raise UserError if a value is text that no command line can carry."""
    if isinstance(value, str) and "\0" in value:
        raise UserError(f"{name}: expected text without the character NUL, found {value!r}")


def check_choice(value: Any, choices: tuple | None, name: str) -> None:
    """Raise UserError if there are choices and the value is none of them."""
    if choices and value not in choices:
        raise UserError(f"{name}: expected one of {', '.join(choices)}, found {value!r}{suggestion(value, choices)}")


def check_bounds(value: Any, bounds: Any, name: str) -> None:
    """Raise UserError if a value is out of bounds.

    Args:
        value: a number, or a value without bounds.
        bounds: a mapping with `low` (the least value), `high` (the greatest one) and `above` (less than the least one),
            each None where there is no such bound.
        name: the key or the flag, for the message.
    """
    low, high, above = bounds["low"], bounds["high"], bounds["above"]
    if low is not None and value < low:
        raise UserError(f"{name}: expected at least {low}, found {value}")
    if high is not None and value > high:
        raise UserError(f"{name}: expected at most {high}, found {value}")
    if above is not None and value <= above:
        raise UserError(f"{name}: expected more than {above}, found {value}")


def check_plain(value: Any, name: str, place: str = "", level: int = 0) -> None:
    """Raise UserError if a value, or a value nested in it, cannot be passed to a program as text.

    Args:
        value: the value, or a part of it.
        name: the key in the configuration.
        place: where the part lies in the key's value, as `start` or `gains[0]`.
        level: how deep the part is nested.
    """
    at = f" at {place}" if place else ""
    if level > MAX_LEVELS:
        raise UserError(f"{name}: expected at most {MAX_LEVELS} nested levels, found more")
    if isinstance(value, list):
        for number, item in enumerate(value):
            check_plain(item, name, f"{place}[{number}]", level + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_key(key, name, at, level)
            check_plain(item, name, f"{place}.{key}".lstrip("."), level + 1)
    elif not isinstance(value, SCALARS):
        known = "text, numbers, true, false, null, lists and mappings"
        raise UserError(f"{name}: expected {known}, found {value!r}{at}; quote it to pass it as text")


def check_key(key: Any, name: str, at: str, level: int) -> None:
    """Raise UserError if a key of a nested mapping cannot be passed to a program as text."""
    if level == 0 and not isinstance(key, str):
        raise UserError(f"{name}: expected text as keys, found {key!r}; quote it")
    if not isinstance(key, SCALARS):
        raise UserError(f"{name}: expected text or numbers as keys, found {key!r}{at}; quote it")


def suggestion(word: Any, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` with the known word nearest to this one, or "" if none is near."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
