"""What a configuration section is made of: dataclass fields with a help text, bounds, and a role in staleness.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import copy
import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

from worldmodels.runtime.checks import check_value
from worldmodels.runtime.values import to_text

# The roles of a field in staleness.
RESULT = "result"  # changes the stage's result: a new value makes the stage stale
BUDGET = "budget"  # how long the stage goes on: a new value makes it stale, and it continues from its saved state
COUNT = "count"  # how many files a stage writes: a new value changes none of them, but the inputs of later stages
RUNTIME = "runtime"  # cannot change a result: never makes anything stale
ELSEWHERE = "elsewhere"  # a field of the specification whose value comes from another section or from a file


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
    metavar: str = "",
) -> Any:
    """Return a dataclass field with its documentation, its bounds and its role.

    Args:
        default: the field's default. Each section gets a copy of it.
        help: what the setting means, in sentences.
        low: the least value.
        above: a bound that every value exceeds.
        high: the greatest value.
        choices: all values, of text.
        role: how the field takes part in staleness.
        home: where the value comes from if the field is not set in this section.
        suited: see `suited`.
        unless: see `suited`.
        metavar: what stands for the value in --help, in place of its type.
    """
    bounds = {"low": low, "above": above, "high": high, "choices": choices}
    suiting = {"suited": suited, "unless": unless}
    metadata = {"help": help, **bounds, "role": role, "home": home, **suiting, "metavar": metavar}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.copy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def suited(by_env: dict[str, Any], otherwise: Any, help: str, unless: dict | None = None, **bounds: Any) -> Any:
    """Return a field whose default, null, means the value that suits the environment.

    Args:
        by_env: environment id -> value. The section has a field env_name, elsewhere(..., "env.id").
        otherwise: the value for all environments that by_env does not name. None stays None.
        help: what the setting means, in sentences. What null means is added.
        unless: arguments of the environment (env.kwargs). With any of them, `otherwise` holds for the environments of
            by_env, too. The section then has a field env_kwargs, elsewhere(..., "env.kwargs").
        bounds: further arguments of `setting`.
    """
    for name, value in by_env.items():
        help += f" null: {to_text(value)} in {name}"
    for argument, value in (unless or {}).items():
        help += f" (unless env.kwargs has {argument}: {to_text(value)})"
    help += f", {'never' if otherwise is None else to_text(otherwise)} elsewhere."
    return setting(None, help, suited={**by_env, "": otherwise}, unless=unless, **bounds)


def elsewhere(default: Any, home: str) -> Any:
    """Return a field of the specification whose value comes from `home` and is not set in this section."""
    return setting(default, f"Comes from {home}.", role=ELSEWHERE, home=home)


def extra() -> Any:
    """Return the field for a user's own parameters."""
    return setting({}, "Values for code that you add to this stage, as {my_key: 3}. It reads config.my_key.")


@dataclass
class Section:
    """Base of all sections: checks its values when built. Keys of `extra` read like attributes.

    Attributes:
        section: the section's name in the configuration.
        prefix: begins the section's flags.
    """

    section: ClassVar[str] = ""
    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if getattr(self, f.name) is None and f.metadata["suited"]:
                setattr(self, f.name, self.suited_value(f))
        self.validate()

    def validate(self) -> bool:
        """Check all values. A section does so when it is built; call this after you have set an attribute.

        Whole numbers become floats where a field holds floats.

        Returns:
            True.

        Raises:
            UserError: a value has the wrong type, is out of bounds, or does not fit another value.
        """
        for f in dataclasses.fields(self):
            setattr(self, f.name, check_value(f, getattr(self, f.name), f"{self.section}.{config_key(f)}".lstrip(".")))
        return True

    def suited_value(self, f: dataclasses.Field) -> Any:
        """Return what null means for a field in this section's environment; see `suited`."""
        by_env, unless = f.metadata["suited"], f.metadata["unless"] or {}
        env_kwargs = self.env_kwargs if unless else {}
        if any(env_kwargs.get(argument) == value for argument, value in unless.items()):
            return copy.copy(by_env[""])
        return copy.copy(by_env.get(self.env_name, by_env[""]))

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("extra", {})
        if name in values:
            return values[name]
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def to_dict(self) -> dict:
        """Return all fields as a dictionary of plain values."""
        return dataclasses.asdict(self)


def settable(cls: type[Section]) -> list[dataclasses.Field]:
    """Return the fields that are configured in this section."""
    return [f for f in dataclasses.fields(cls) if f.metadata["role"] != ELSEWHERE]


def config_key(f: dataclasses.Field) -> str:
    """Return the name of a field in config.yaml: `import_` is `import`, which is a keyword of Python."""
    return f.name.rstrip("_")


def default_of(f: dataclasses.Field) -> Any:
    """Return the default of a field."""
    return f.default if f.default is not dataclasses.MISSING else f.default_factory()


def result_values(section: Section) -> dict:
    """Return the values that shape the section's result, as a checkpoint keeps them: no paths, no devices."""
    return {f.name: getattr(section, f.name) for f in settable(type(section)) if f.metadata["role"] == RESULT}
