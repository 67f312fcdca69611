"""config.yaml, generated from the sections' fields: `cd scripts && python -m worldmodels.runtime.config_file`."""

import dataclasses
import textwrap

from worldmodels.runtime.config import SECTIONS, RunConfig
from worldmodels.runtime.settings import config_key, settable
from worldmodels.runtime.values import to_text


def as_yaml() -> str:
    """All sections with their defaults, each key under its help: what config.yaml ships."""

    def entry(f: dataclasses.Field, indent: str) -> list[str]:
        default = f.default if f.default is not dataclasses.MISSING else f.default_factory()  # type: ignore[misc]
        comment = textwrap.wrap(
            f.metadata["help"], 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   "
        )
        text = '""' if default == "" else to_text(default)
        return [*comment, f"{indent}{config_key(f)}: {text}"]

    lines = [
        "# Every knob of the workflow, with its default.",
        "# Written by: cd scripts && python -m worldmodels.runtime.config_file",
        "",
    ]
    for f in settable(RunConfig):
        lines += entry(f, "")
    for name, cls in SECTIONS.items():
        lines += ["", *textwrap.wrap(cls.__doc__ or "", 110, initial_indent="# ", subsequent_indent="# "), f"{name}:"]
        for f in settable(cls):
            lines += entry(f, "  ")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_yaml(), end="")
