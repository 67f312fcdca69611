"""docs/configuration.md, generated: `make config`.

The tables come from the fields of the sections, as config.yaml does. The text before them is config_page.md.
"""

import dataclasses
import html
import re
from pathlib import Path

from worldmodels.runtime.checks import type_text
from worldmodels.runtime.config import SECTIONS, RunConfig
from worldmodels.runtime.settings import config_key, default_of, settable
from worldmodels.runtime.values import to_text
from worldmodels.workflow import temperatures

REPOSITORY = Path(__file__).parents[3]
INTRO = Path(__file__).with_name("config_page.md")
HEADER = ["| key | type | default | kind | meaning |", "|---|---|---|---|---|"]

# What `workflow.configuration` reads beside the sections: key -> type, default, meaning.
WORKFLOW_KEYS = {
    "seeds": (
        "list of int",
        "[]",
        "A sweep: a run for each seed, in <logdir>/seed_1 and so on, and their scores in <logdir>/seeds.json. "
        "See docs/cluster.md.",
    ),
    "iterations": (
        "int, at least 1",
        "null",
        "A chain of this number of runs, in which each run learns from the agent of the run before. "
        "See docs/iterations.md.",
    ),
    "temperatures": (
        "list of float, each at least 0",
        to_text(temperatures.PAPER),
        "The temperatures of the dreams in which `snakemake temperatures` trains one C each. See docs/dreams.md.",
    ),
    "agent": (
        "str",
        '""',
        "A package, or the logdir of a finished run, whose V, M and C are tested instead of trained. "
        "See docs/sharing.md.",
    ),
}


def as_page() -> str:
    """Return docs/configuration.md."""
    lines = INTRO.read_text(encoding="utf-8").replace("PRESETS", "\n".join(preset_rows())).splitlines()
    lines += ["## Top level", "", *HEADER, *(key_row(f) for f in settable(RunConfig)), ""]
    lines += ["Four more keys are not in `config.yaml`. Set them with `--config`:", ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [row(f"`{key}`", kind, f"`{default}`", cell(text)) for key, (kind, default, text) in WORKFLOW_KEYS.items()]
    for name, cls in SECTIONS.items():
        lines += ["", f"## {name}", "", cell(cls.__doc__ or ""), "", *HEADER, *(key_row(f) for f in settable(cls))]
    return "\n".join(lines) + "\n"


def preset_rows() -> list[str]:
    """Return a row for each file in presets/: its name, and the first sentence of the comment at its start."""
    rows = ["| preset | what it is |", "|---|---|"]
    for path in sorted((REPOSITORY / "presets").glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        comment = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# "))
        rows.append(row(f"`presets/{path.name}`", cell(f"{comment.split('. ')[0].rstrip('.')}.")))
    return rows


def key_row(f: dataclasses.Field) -> str:
    """Return the row of a key."""
    default = to_text(default_of(f)) or '""'
    return row(f"`{config_key(f)}`", kind_of_value(f), f"`{default}`", f.metadata["role"], cell(f.metadata["help"]))


def kind_of_value(f: dataclasses.Field) -> str:
    """Return the type of a key's value with its bounds or choices, in words."""
    bounds = {"low": "at least {}", "above": "more than {}", "high": "at most {}"}
    limits = [text.format(f"{f.metadata[name]:g}") for name, text in bounds.items() if f.metadata[name] is not None]
    kind = type_text(f)
    if f.metadata["choices"]:
        kind = kind.replace("str", ", ".join(f"`{choice}`" for choice in f.metadata["choices"]))
    return ", ".join([kind, *limits])


def cell(text: str) -> str:
    """Return text as Markdown for a table, with links to the pages that it names.

    <logdir> would be a tag, and | would end the cell.
    """
    shown = html.escape(text, quote=False).replace("|", "\\|")
    return re.sub(r"docs/(\w+\.md)", r"[\1](\1)", shown)


def row(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(as_page(), end="")
