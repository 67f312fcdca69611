"""What counts in a source file: its syntax tree without comments, docstrings and layout, and its imports.

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
from typing import Any, NamedTuple

# Errors of ast.parse for a file that Python cannot run either.
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)

# Gymnasium's entry points, as "games.ball:Ball". The module is imported when the environment is made.
ENTRY_POINT = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*")


class Code(NamedTuple):
    """A source file as the fingerprint sees it.

    Attributes:
        digest: SHA-256 of the syntax tree without docstrings, hexadecimal.
        imports: (dots of a relative import, dotted name) of each import; the name is a.b for `from a import b`.
    """

    digest: str
    imports: tuple[tuple[int, str], ...]


@cache  # because most rules run the same few modules
def parse(source: bytes) -> Code:
    """Return what counts in a source file.

    Args:
        source: the bytes of the file, in the encoding that its first lines name.

    Raises:
        SyntaxError: the source is no Python; so are the other errors of BROKEN.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The program that runs the file shows the warnings.
        tree = ast.parse(source)
    return Code(hashlib.sha256(serialize(tree).encode()).hexdigest(), tuple(sorted(imported_names(tree))))


def serialize(tree: ast.AST) -> str:
    """Return a syntax tree as text that is the same in every version of Python.

    Positions and docstrings are left out. So is every empty field, because later versions add fields. The output of
    ast.unparse and ast.dump differs between versions. A stack stands in for recursion, because a long sum is nested
    deeper than calls of Python functions may be.
    """
    pieces: list[str] = []
    stack: list = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif isinstance(item, list):
            stack.append("]")
            stack += [leaf_text(value) for value in reversed(item)]
            pieces.append("[")
        elif isinstance(item, (ast.Constant, ast.MatchSingleton)):  # without a Constant's kind: u"" is ""
            pieces.append(f"({type(item).__name__} {leaf_text(item.value)})")
        else:
            pieces.append(f"({type(item).__name__}")
            stack.append(")")
            for name, value in sorted(fields_of(item), reverse=True):
                stack += [leaf_text(value), f" {name}="]
    return "".join(pieces)


def leaf_text(value: Any) -> Any:
    """Return a leaf of the tree as text, and a node or a list unchanged."""
    if isinstance(value, (ast.AST, list)):
        return value
    # Whole numbers have base 16, which has no limit of digits. Text is ASCII, because versions of Python differ in the
    # characters that they escape.
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
    """Return the statements of a module, class or function without its docstring."""
    first = body[0].value if body and isinstance(body[0], ast.Expr) else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return body[1:] or [ast.Pass()]
    return body


def merge_texts(values: list[ast.expr]) -> list[ast.expr]:
    """Return the pieces of an f-string with neighboring texts joined: versions of Python cut them differently."""
    merged: list[ast.expr] = []
    for piece in values:
        if isinstance(piece, ast.Constant) and merged and isinstance(merged[-1], ast.Constant):
            merged[-1] = ast.Constant(merged[-1].value + piece.value)
        elif not (isinstance(piece, ast.Constant) and piece.value == ""):
            merged.append(piece)
    return merged


def imported_names(tree: ast.AST) -> set[tuple[int, str]]:
    """Return all that a file imports, anywhere in it, as (dots, name): see Code.imports."""
    names: set[tuple[int, str]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {(node.level, f"{node.module or ''}.{alias.name}".strip(".")) for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            entry = ENTRY_POINT.fullmatch(node.value)
            names |= {(0, entry[1])} if entry else set()
        elif isinstance(node, ast.Call):
            names |= called_imports(node)
    return names


def called_imports(call: ast.Call) -> set[tuple[int, str]]:
    """Return the import of a call of import_module or __import__ with a literal name, if the call is one."""
    function = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if function not in ("import_module", "__import__") or not call.args:
        return set()
    name = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
    if not isinstance(name, str):
        return set()
    return {(len(name) - len(name.lstrip(".")), name.lstrip("."))}


def read_source(path: Path) -> bytes:
    """Return the bytes of a file, or b"" if it cannot be read: then the job that runs it names the error."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def code_digest(path: Path) -> str:
    """Return the digest of a file's code, or of its bytes if the file is installed, binary or broken."""
    source = read_source(path)
    if path.suffix == ".py" and not is_installed(path):
        try:
            return parse(source).digest
        except BROKEN:
            pass
    return hashlib.sha256(source).hexdigest()


def imports_of(path: Path) -> tuple[tuple[int, str], ...]:
    """Return what a file imports, see Code.imports; nothing if the file is binary or broken."""
    try:
        return parse(read_source(path)).imports if path.suffix == ".py" else ()
    except BROKEN:
        return ()


def is_installed(path: Path) -> bool:
    """Return whether a file comes with Python, or was copied to where pip and the system install packages."""
    copied = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    return copied or path.is_relative_to(sysconfig.get_path("stdlib"))
