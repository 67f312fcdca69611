"""What a configuration section is made of: fields with bounds, their checks, and the flags made from them.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import copy
import dataclasses
import difflib
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args, get_origin

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.values import SCALARS, to_text

# How a field takes part in staleness.
RESULT = "result"  # changes the stage's result: a new value makes the stage stale
BUDGET = "budget"  # how long to go on: a new value makes the stage stale, but it continues from its saved state
COUNT = "count"  # how many files a stage makes: changes none of them, and shows in the inputs of what reads them
RUNTIME = "runtime"  # cannot change a result: never makes anything stale
ELSEWHERE = "elsewhere"  # a field of the specification that is configured in another section, or read from a file


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    choices: tuple | None = None,
    role: str = RESULT,
    home: str = "",
    suited: dict | None = None,
    unless: dict | None = None,
) -> Any:
    """A dataclass field with its documentation, its bounds (low <= value <= high, value > above) and its role."""
    bounds = dict(low=low, above=above, high=high, choices=choices)
    metadata = dict(help=help, **bounds, role=role, home=home, suited=suited, unless=unless)
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def suited(known: dict[str, Any], other: Any, help: str, unless: dict | None = None, **bounds: Any) -> Any:
    """A field whose default, null, means what suits the environment.

    Args:
        known: environment id -> value. The section has a field env_name, elsewhere(..., "env.id").
        other: the value for any other environment; None stays None.
        unless: arguments of the environment (env.kwargs) with any of which the known values do not suit it. The section
            then has a field env_kwargs, elsewhere(..., "env.kwargs").
    """
    for name, value in known.items():
        help += f". null: {to_text(value)} in {name}"
    for argument, value in (unless or {}).items():
        help += f" (but not with kwargs {argument}: {to_text(value)})"
    rest = "never" if other is None else to_text(other)
    return setting(None, f"{help}, else {rest}", suited={**known, "": other}, unless=unless, **bounds)


def elsewhere(default: Any, home: str) -> Any:
    """A field of the specification whose value comes from `home`, not from this section."""
    return setting(default, f"comes from {home}", role=ELSEWHERE, home=home)


def extra() -> Any:
    return setting({}, "additional parameters of your own, kept with the configuration and readable as its attributes")


@dataclass
class Section:
    """Base of all sections: checks its values when built; keys of `extra` read like attributes."""

    section: ClassVar[str] = ""
    prefix: ClassVar[str] = ""  # of the section's flags

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, suits = getattr(self, f.name), f.metadata["suited"]
            if value is None and suits:
                value = copy.copy(suits.get(self.suits_as(f), suits[""]))
            setattr(self, f.name, check_value(f, value, f"{self.section}.{config_key(f)}".lstrip(".")))

    def suits_as(self, f: dataclasses.Field) -> str:
        """The environment id whose values suit this environment; empty: none's."""
        unless = f.metadata["unless"] or {}
        given = self.env_kwargs if unless else {}
        return "" if any(given.get(argument) == value for argument, value in unless.items()) else self.env_name

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("extra", {})
        if name in values:
            return values[name]
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)


def check_value(f: dataclasses.Field, value: Any, name: str) -> Any:
    """The value as the field's type, or UserError naming the key, what was expected and what was found."""
    meta, kind = f.metadata, get_origin(f.type) or f.type
    if value is None and meta["suited"]:
        return value
    expected = kind.__name__ if not get_args(f.type) else f"list of {get_args(f.type)[0].__name__}"
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        hint = ""
        if isinstance(value, str) and kind in (int, float):
            hint = " (YAML reads 1e-3 as text: write 1.0e-3)" if "e" in value.lower() else ""
        if kind is str and value is not None and not isinstance(value, (dict, list)):
            hint = f" (unquoted, YAML reads it as no text: quote it, with --config in two kinds, as '{name}=\"...\"')"
        raise UserError(f"{name}: expected {expected}, found {value!r}{hint}")
    if kind is dict:
        check_plain(value, name)
    if kind is list:
        item = get_args(f.type)[0]
        value = [float(v) if item is float and type(v) is int else v for v in value]
        for v in value:
            if type(v) is not item:
                raise UserError(f"{name}: expected a {expected}, found {v!r} in it")
    for v in value if kind is list else [value]:
        if isinstance(v, str) and "\0" in v:
            raise UserError(f"{name}: expected text without the character NUL, found {v!r}")
        if meta["choices"] and v not in meta["choices"]:
            raise UserError(
                f"{name}: expected one of {', '.join(meta['choices'])}, found {v!r}{nearest(v, meta['choices'])}"
            )
        if kind is float and not math.isfinite(v):
            raise UserError(f"{name}: expected a finite number, found {v}")
        for bound, words in (("low", "at least"), ("high", "at most"), ("above", "more than")):
            limit = meta[bound]
            if limit is None:
                continue
            if (bound == "low" and v < limit) or (bound == "high" and v > limit) or (bound == "above" and v <= limit):
                raise UserError(f"{name}: expected {words} {limit}, found {v}")
    return value


MOST_LEVELS = 50  # of nested values, as a mapping that contains itself has no end of them


def check_plain(value: Any, name: str, place: str = "", level: int = 0) -> None:
    """Raise UserError if a value, anywhere in it, cannot be passed to a program as text.

    Args:
        name: the key in the configuration.
        place: where in its value this one lies, as `start` or `gains.0`.
    """
    at = f" at {place}" if place else ""
    if level > MOST_LEVELS:
        raise UserError(f"{name}: expected at most {MOST_LEVELS} nested levels, found more")
    if isinstance(value, list):
        for number, part in enumerate(value):
            check_plain(part, name, f"{place}[{number}]", level + 1)
    elif isinstance(value, dict):
        for given, part in value.items():
            if not level and not isinstance(given, str):
                raise UserError(f"{name}: expected text as keys, found {given!r}; quote it")
            if not isinstance(given, SCALARS):
                raise UserError(f"{name}: expected text or numbers as keys, found {given!r}{at}; quote it")
            check_plain(part, name, f"{place}.{given}".lstrip("."), level + 1)
    elif not isinstance(value, SCALARS):
        known = "text, numbers, true, false, null, lists and mappings"
        raise UserError(f"{name}: expected {known}, found {value!r}{at}; quote it to pass it as text")


def nearest(word: Any, known: Any) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def settable(cls: type[Section]) -> list[dataclasses.Field]:
    """The fields that are configured in this section."""
    return [f for f in dataclasses.fields(cls) if f.metadata["role"] != ELSEWHERE]


def config_key(f: dataclasses.Field) -> str:
    """The field's name in config.yaml: `import_` is `import`, which Python keeps for itself."""
    return f.name.rstrip("_")


def result_values(section: Section) -> dict:
    """The section's values that shape its result, as a checkpoint keeps them: no paths, no devices."""
    return {f.name: getattr(section, f.name) for f in settable(type(section)) if f.metadata["role"] == RESULT}
