"""Lists of files, shortened for a reader: 10,000 rollouts are inputs of half of the rules."""

import re
from collections.abc import Callable, Iterator
from itertools import groupby

MOST_FILES = 6  # files of a job that are printed one by one
MOST_ALIKE = 10  # words or lines of a message that differ only in numbers and are printed one by one
LONG_LINE = 400  # characters of a line whose lists are shortened

# A word of a shell command, quotes included.
WORD = re.compile(r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+""")


def shorten_files(files: list[str]) -> list[str]:
    """Return the first two files, the last one and their number in place of many."""
    files = list(files)
    if len(files) <= MOST_FILES:
        return files
    return [*files[:2], "...", f"{files[-1]} ({len(files)} files)"]


def shorten_command(command: str) -> str:
    """Return a shell command in which a long run of words that differ only in numbers is shortened."""
    parts, end = [], 0
    for words in runs(list(WORD.finditer(command)), key=lambda word: without_numbers(word[0])):
        parts.append(command[end : words[0].start()])
        texts = [word[0] for word in words]
        if len(texts) > MOST_ALIKE:
            parts.append(f"{texts[0]} {texts[1]} ... {texts[-1]} ({len(texts)} files)")
        else:
            parts.append(command[words[0].start() : words[-1].end()])
        end = words[-1].end()
    return "".join([*parts, command[end:]])


def shorten_message(message: str) -> str:
    """Return a message in which long lists of files are shortened.

    A list is a line with many parts between commas, or many lines that differ only in numbers.
    """
    lines = []
    for group in runs(message.split("\n"), key=without_numbers):
        if len(group) > MOST_ALIKE and group[0].strip():
            group = [*group[:2], f"... ({len(group)} lines like these)", group[-1]]
        lines += [shorten_line(line) if len(line) > LONG_LINE else line for line in group]
    return "\n".join(lines)


def shorten_line(line: str) -> str:
    """Return a line whose lists are shortened. Sentences in it end with semicolons, as in Snakemake's reasons."""
    return "; ".join(", ".join(shorten_files(sentence.split(", "))) for sentence in line.split("; "))


def without_numbers(text: str) -> str:
    """Return the text with every number replaced by the same sign."""
    return re.sub(r"\d+", "#", text)


def runs(items: list, key: Callable) -> Iterator[list]:
    """Yield the items in groups of consecutive ones with the same key."""
    return (list(group) for _, group in groupby(items, key))
