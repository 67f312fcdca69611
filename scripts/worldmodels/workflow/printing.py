"""Lists of files, shortened for a reader: 10,000 rollouts are inputs of half of the rules."""

import re
from collections.abc import Callable, Iterator
from itertools import groupby

MOST_FILES = 6  # files of a job that are printed one by one
MOST_ALIKE = 10  # words or lines of a message that differ only in numbers and are printed one by one
LONG_LINE = 400  # characters of a line whose lists are shortened

# One to eight words, as a path with spaces has, and more of the same.
REPEATED = re.compile(rf"((?:\S+ ){{1,8}}?)\1{{{MOST_ALIKE},}}")


def shorten_files(files: list[str]) -> list[str]:
    """Return the first two files, the last one and their number in place of many."""
    files = list(files)
    if len(files) <= MOST_FILES:
        return files
    return [*files[:2], "...", f"{files[-1]} ({len(files)} files)"]


def shorten_command(command: str) -> str:
    """Return a shell command in which a long list of paths that differ only in digits is shortened."""
    text, parts, end = f"{command} ", [], 0
    for match in REPEATED.finditer(re.sub(r"\d", "0", text)):
        size, paths = len(match[1]), text[match.start() : match.end()]
        number = len(paths) // size
        parts += [text[end : match.start()], paths[: 2 * size], "... ", paths[-size:], f"({number} files) "]
        end = match.end()
    return "".join([*parts, text[end:]])[:-1]


def shorten_message(message: str) -> str:
    """Return a message in which long lists of files are shortened.

    A list is a line with many parts between commas, or many lines that differ only in numbers.
    """
    lines = []
    for group in runs(message.split("\n"), key=without_numbers):
        if len(group) > MOST_ALIKE and group[0].strip():
            group = [*group[:2], f"... ({len(group)} lines like these)", group[-1]]
        for line in group:
            # Sentences of Snakemake's reasons end with semicolons.
            sentences = line.split("; ") if len(line) > LONG_LINE else []
            lines.append("; ".join(map(shorten_sentence, sentences)) or line)
    return "\n".join(lines)


def shorten_sentence(sentence: str) -> str:
    """Return a sentence whose list is shortened. One with flags is a command, whose values may hold commas."""
    if " --" in sentence:
        return shorten_command(sentence)
    return ", ".join(shorten_files(sentence.split(", ")))


def without_numbers(text: str) -> str:
    """Return the text with every number replaced by the same sign."""
    return re.sub(r"\d+", "#", text)


def runs(items: list, key: Callable) -> Iterator[list]:
    """Yield the items in groups of consecutive ones with the same key."""
    return (list(group) for _, group in groupby(items, key))
