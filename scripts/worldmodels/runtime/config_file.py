"""config.yaml, generated from the sections' fields: `make config`."""

import dataclasses
import textwrap

from worldmodels.runtime.config import SECTIONS, RunConfig
from worldmodels.runtime.settings import config_key, default_of, settable
from worldmodels.runtime.values import to_text

WIDTH = 110  # characters per line of a comment
HEAD = """\
# Every key of a run, with its default. docs/configuration.md says how to change a value.
# Not here, and set with --config: seeds, iterations, temperatures, agent.
# Written by: make config
"""


def as_yaml() -> str:
    """Return config.yaml: all sections with their defaults, each key below its help."""
    lines = [HEAD]
    for f in settable(RunConfig):
        lines += entry(f, "")
    for name, cls in SECTIONS.items():
        heading = textwrap.wrap(cls.__doc__ or "", WIDTH, initial_indent="# ", subsequent_indent="# ")
        lines += ["", *heading, f"{name}:"]
        for f in settable(cls):
            lines += entry(f, "  ")
    return "\n".join(lines) + "\n"


def entry(f: dataclasses.Field, indent: str) -> list[str]:
    """Return the lines of a key: its help as a comment, then the key with its default."""
    text = to_text(default_of(f)) or '""'
    first, later = f"{indent}# ", f"{indent}#   "
    comment = textwrap.wrap(f.metadata["help"], WIDTH, initial_indent=first, subsequent_indent=later)
    return [*comment, f"{indent}{config_key(f)}: {text}"]


if __name__ == "__main__":
    print(as_yaml(), end="")
