"""What the documents of the repository hold: links, headings, and the commands that a reader is to run."""

import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from helpers.programs import ROOT

DOCUMENTS = sorted(path for pattern in ("*.md", "docs/*.md", "bench/*.md", "tests/*.md") for path in ROOT.glob(pattern))
# Fenced code in these languages holds no commands.
OTHER_LANGUAGES = {"text", "python", "yaml", "json"}


class Command(NamedTuple):
    """A line that a reader is to type.

    Attributes:
        document: its path in the repository.
        line: the whole line, without its comment.
        inline: whether it stands within a sentence or a table.
    """

    document: str
    line: str
    inline: bool


@cache
def tokens(path: Path) -> tuple[Token, ...]:
    """Return the tokens of a document, those within lines included."""
    parsed = MarkdownIt("commonmark").enable("table").parse(path.read_text())
    return tuple(token for block in parsed for token in (block, *(block.children or ())))


def targets(path: Path) -> list[str]:
    """Return what the document's links and images point to."""
    found = [token.attrs.get("href") or token.attrs.get("src") for token in tokens(path) if token.attrs]
    html = [token.content for token in tokens(path) if token.type in ("html_block", "html_inline")]
    return [str(target) for target in found if target] + re.findall(r'(?:src|href)="(.*?)"', " ".join(html))


def anchors(path: Path) -> set[str]:
    """Return the anchors of the document's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    names = set()
    parsed = tokens(path)
    for heading, inline in itertools.pairwise(parsed):
        if heading.type == "heading_open":
            text = "".join(part.content for part in inline.children or () if part.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            names.add(f"{name}-{found[name]}" if name in found else name)
            found[name] = found.get(name, 0) + 1
    return names


def commands(path: Path) -> Iterator[Command]:
    """Yield each line of the document's code that is in no other language, and each piece of code within a line."""
    document = path.relative_to(ROOT).as_posix()
    for token in tokens(path):
        if token.type == "code_block" or (
            token.type == "fence" and token.info.split()[:1] not in [[language] for language in OTHER_LANGUAGES]
        ):
            for line in re.sub(r"\\\n\s*", "", token.content).splitlines():
                if line := re.sub(r"(^|\s+)# .*", "", line).strip():
                    yield Command(document, line, inline=False)
        elif token.type == "code_inline":
            yield Command(document, token.content, inline=True)
