"""What counts of a source file: its syntax tree without comments, docstrings and layout, and what it imports.

Both are the same under every supported version of Python. This module needs the standard library alone.
"""

import ast
import hashlib
import re
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

# What ast.parse raises for a file that Python could not run either.
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)

# Gymnasium's entry points, as "games.ball:Ball": the module is imported when the environment is made.
ENTRY_POINT = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*")


class Code(NamedTuple):
    """A source file as the fingerprint sees it."""

    digest: str  # of the syntax tree, without docstrings
    imports: tuple[tuple[int, str], ...]  # (dots of a relative import, dotted name); a.b for `from a import b`


@cache  # most rules run the same few modules
def parse(source: bytes) -> Code:
    """Return what counts of a source, whose encoding is what its first lines say.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: see BROKEN.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the program that runs the file shows them
        tree = ast.parse(source)
    return Code(hashlib.sha256(serialize(tree).encode()).hexdigest(), tuple(sorted(imports(tree))))


def serialize(tree: ast.AST) -> str:
    """Return a syntax tree as text that is the same in every version of Python.

    Positions and docstrings are left out. So is every empty field, because later versions add fields. What ast.unparse
    and ast.dump print differs between versions.
    """
    parts: list[str] = []
    stack: list = [tree]  # A long sum is nested deeper than Python's functions may be.
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
        elif isinstance(item, list):
            stack.append("]")
            stack += [text_of(value) for value in reversed(item)]
            parts.append("[")
        elif isinstance(item, (ast.Constant, ast.MatchSingleton)):  # without the kind of a Constant: u"" is ""
            parts.append(f"({type(item).__name__} {text_of(item.value)})")
        else:
            parts.append(f"({type(item).__name__}")
            stack.append(")")
            for name, value in sorted(fields_of(item), reverse=True):
                stack += [text_of(value), f" {name}="]
    return "".join(parts)


def text_of(value):
    """Return a leaf of the tree as text, and a node or a list unchanged."""
    if isinstance(value, (ast.AST, list)):
        return value
    # Whole numbers in base 16, which has no limit of digits; text in ASCII, since what else is printable depends on
    # the version of Unicode.
    return hex(value) if type(value) is int else ascii(value)


def fields_of(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Yield the names and values of a node's fields that count."""
    for name in node._fields:
        value = getattr(node, name, None)
        if name == "body" and isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            value = without_docstring(node.body)
        elif name == "values" and isinstance(node, ast.JoinedStr):
            value = merge_texts(node.values)
        empty = value is None or value == [] or value == 0
        if not empty and name != "ctx":  # ctx follows from the place of the node
            yield name, value


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0].value if body and isinstance(body[0], ast.Expr) else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return body[1:] or [ast.Pass()]
    return body


def merge_texts(values: list[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string, neighboring texts as one: versions of Python differ in how they cut them."""
    merged: list[ast.expr] = []
    for part in values:
        if isinstance(part, ast.Constant) and merged and isinstance(merged[-1], ast.Constant):
            merged[-1] = ast.Constant(merged[-1].value + part.value)
        elif not (isinstance(part, ast.Constant) and part.value == ""):
            merged.append(part)
    return merged


def imports(tree: ast.AST) -> set[tuple[int, str]]:
    """Return all that a file imports, anywhere in it, as (dots, name): see Code.imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {(node.level, f"{node.module or ''}.{alias.name}".strip(".")) for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            entry = ENTRY_POINT.fullmatch(node.value)
            names |= {(0, entry[1])} if entry else set()
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            name = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(name, str):
                names.add((len(name) - len(name.lstrip(".")), name.lstrip(".")))
    return names


def read(path: Path) -> bytes:
    """Return the bytes of a file, or none if it cannot be read: then the job names the error."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def code_of(path: Path) -> str:
    """Return the digest of a file's code, or of its bytes if it is an installed, a binary or a broken one."""
    source = read(path)
    if path.suffix == ".py" and not is_installed(path):
        try:
            return parse(source).digest
        except BROKEN:
            pass
    return hashlib.sha256(source).hexdigest()


def imports_of(path: Path) -> tuple[tuple[int, str], ...]:
    """Return what a file imports, see Code.imports; nothing of a binary or a broken one."""
    try:
        return parse(read(path)).imports if path.suffix == ".py" else ()
    except BROKEN:
        return ()


def is_installed(path: Path) -> bool:
    """Whether a file comes with Python, or was copied to where pip and the system install packages."""
    copied = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    return copied or path.is_relative_to(sysconfig.get_path("stdlib"))
