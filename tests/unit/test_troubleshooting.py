"""A program has each message that docs/troubleshooting.md quotes."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from helpers.programs import ROOT

ANYTHING = "\0"  # stands in a text for a value that is filled in
FORMATS = re.compile(r"%[-+.\d]*[sdgfr]|\{\w*\}")


def quoted_messages() -> list[str]:
    """Return the code at the start of the rows of each table whose first column has messages."""
    messages, has_messages = [], False
    for line in (ROOT / "docs/troubleshooting.md").read_text().splitlines():
        first = line.split(" | ")[0].removeprefix("| ")
        if not line.startswith("|"):
            has_messages = False
        elif "message" in first:
            has_messages = True
        elif has_messages and first.startswith("`"):
            messages += re.findall(r"`([^`]+)`", first)
    return messages


def literals(file: Path) -> Iterator[str]:
    """Yield the texts in a Python file, with ANYTHING in place of the values that are filled in."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(p.value) if isinstance(p, ast.Constant) else ANYTHING for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield FORMATS.sub(ANYTHING, node.value)


@cache
def own_texts() -> list[str]:
    """Return the texts of our programs, and the Makefile."""
    files = sorted((ROOT / "scripts").rglob("*.py"))
    return [*(text for file in files for text in literals(file)), (ROOT / "Makefile").read_text()]


def package_texts(name: str, piece: str) -> list[str]:
    """Return the texts of an installed package's files that contain a piece of a message."""
    folder = Path(importlib.util.find_spec(name).origin).parent
    files = [file for file in folder.rglob("*.py") if piece in file.read_text(encoding="utf-8")]
    return [text for file in files for text in literals(file)]


def fixed_pieces(message: str) -> list[str]:
    """Return what is fixed in a message: all but `...`, what stands in quotes, and reasons in parentheses."""
    return [piece for piece in re.split(r"\.\.\.|'\S*'|\(Torch[^)]*\)", message) if piece]


def has_message(text: str, pieces: list[str]) -> bool:
    """Return whether a text has the fixed pieces of a message in their order."""
    place = 0
    for piece in pieces:
        place = text.find(piece, place) + len(piece)
        if place < len(piece):
            return False
    return True


@pytest.mark.parametrize("message", quoted_messages())
def test_a_program_has_the_message(message):
    pieces = fixed_pieces(message)
    if not any(has_message(text, pieces) for text in own_texts()):
        longest = max(pieces, key=len)
        texts = [text for name in ("snakemake", "tensorboard") for text in package_texts(name, longest)]
        assert any(has_message(text, pieces) for text in texts)


def test_the_page_quotes_many_messages():
    assert len(quoted_messages()) > 40


def test_a_message_that_was_renamed_is_noticed():
    pieces = fixed_pieces("...: cannot be written: ...")
    assert any(has_message(text, pieces) for text in own_texts())
    assert not any(has_message(text, [*pieces, "today"]) for text in own_texts())
