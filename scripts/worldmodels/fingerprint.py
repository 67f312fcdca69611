"""What code a program runs, as one short string that ignores comments, docstrings and layout.

Snakemake notices neither an edit to a script behind `shell:` nor one to a module that it imports. The
rules therefore carry this fingerprint as a parameter. It is the same under every supported version of Python, and this
module needs the standard library alone.
"""

import ast
import hashlib
import os
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent

# Modules without influence on results: what config.py says reaches a program as flags, which the rule carries
# already; cma_options.py and preflight.py refuse settings; settings.py, cli.py and fingerprint.py parse, print and
# stamp; interrupts.py, locks.py and workers.py stop, start and keep apart processes; user_code.py words the errors of a
# user's code.
NEUTRAL = {
    "__init__", "config", "cma_options", "preflight", "settings", "cli", "fingerprint", "interrupts", "locks",
    "workers", "user_code",
}  # fmt: skip

# What ast.parse raises for a file that Python could not run either.
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)

# Gymnasium's entry points, as "games.ball:Ball": the module is imported when the environment is made.
ENTRY_POINT = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*")

# The files of a package that hold code: sources, compiled modules, and modules without a source.
CODE = {".py", ".so", ".pyd", ".pyc"}


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


def modules(script: str | Path) -> list[Path]:
    """Return the script and, transitively, the package's modules that it imports."""
    paths, queue = set(), [Path(script)]
    while queue:
        path = queue.pop()
        if path in paths:
            continue
        paths.add(path)
        names = [name.split(".") for level, name in imports_of(path) if not level]
        used = {parts[1] for parts in names if parts[0] == PACKAGE.name and len(parts) > 1} - NEUTRAL
        queue += [PACKAGE / f"{name}.py" for name in used]
    return sorted(paths, key=lambda path: path.name)


# A user's own code.


def search_path() -> list[str]:
    """Return where a program looks for modules: users.load puts the working directory last."""
    # Python's own entries begin with a .zip. Snakemake has other entries ahead of them than a program has.
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    start = next((i for i, entry in enumerate(sys.path) if Path(entry).name == archive), 0)
    more = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return [str(PACKAGE.parent), *more, *sys.path[start:], os.getcwd()]


def find_spec(name: str, places: list[str], path: list[str] | None) -> ModuleSpec | None:
    """Return what Python's finders, the hooks of editable installs among them, find of a module without importing it.

    Args:
        places: where to look for a module that is in no package.
        path: where the parts of its package are; None if it is in none.
    """
    for finder in sys.meta_path:
        try:
            if finder is PathFinder:  # Of a dotted name it would want the imported parent.
                spec = PathFinder.find_spec(name.rpartition(".")[2], places if path is None else path)
            else:
                spec = finder.find_spec(name, path)
        except Exception:  # A hook may raise anything, and the job would tell of it.
            continue
        if spec is not None:
            return spec
    return None


def locate(name: str, places: list[str]) -> tuple[str, ModuleSpec] | None:
    """Return what an import of this dotted name would find: its first part that is a module or a package.

    A folder without __init__.py has no code itself: of `a.b` in such a folder a, this is a/b.py.
    """
    parts, path = name.split("."), None
    for end in range(1, len(parts) + 1):
        unit = ".".join(parts[:end])
        spec = find_spec(unit, places, path)
        if spec is None or spec.origin or spec.submodule_search_locations is None:
            return spec and (unit, spec)
        path = list(spec.submodule_search_locations)
    return None


def is_standard(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def files_of(spec: ModuleSpec) -> dict[str, Path]:
    """Return the files of a module or package that hold code, by their paths in it."""
    archive = getattr(spec.loader, "archive", None)  # of a .zip or .egg
    if archive:
        return {Path(archive).name: Path(archive)}
    if spec.submodule_search_locations is None:
        return {Path(spec.origin).name: Path(spec.origin)} if spec.has_location and spec.origin else {}
    files, entered = {}, set()
    for root in spec.submodule_search_locations:
        for folder, folders, names in os.walk(root, followlinks=True):
            entered.add(os.path.realpath(folder))
            folders[:] = [
                name
                for name in folders
                if not name.startswith((".", "__pycache__")) and os.path.realpath(f"{folder}/{name}") not in entered
            ]
            paths = [Path(folder, name) for name in names if not name.startswith(".")]
            files |= {path.relative_to(root).as_posix(): path for path in paths if path.suffix in CODE}
    return files


def users_files(name: str) -> dict[str, Path]:
    """Return the files that count of a user's module or package, by module and path in it.

    These are the module's file or all files of the package, and the same of each module that they import. Installed
    packages that they import do not count.

    Args:
        name: as `games.ball` or, with a class, `games.ball:Ball`.
    """
    places, files, units, seen = search_path(), {}, set(), set()
    root, _, _ = name.partition(":")
    queue: list[tuple[str, list[str]]] = [(root, [])] if root else []
    while queue:
        wanted, beside = queue.pop()
        parts = wanted.split(".")
        known = any(".".join(parts[:end]) in units for end in range(1, len(parts) + 1))
        if known or wanted in seen or is_standard(wanted):
            continue
        seen.add(wanted)
        if parts[0] == PACKAGE.name:
            files |= {f"{PACKAGE.name}/{path.name}": path for path in library_files(parts)}
            continue
        unit, spec = locate(wanted, places) or locate(wanted, beside) or ("", None)
        if spec is None:
            continue
        units.add(unit)
        if wanted != root and is_installed(Path(spec.origin or "")):
            continue
        own = files_of(spec)
        files |= {f"{unit}/{relative}": path for relative, path in own.items()}
        if not is_installed(Path(spec.origin or "")):
            is_package = spec.submodule_search_locations is not None
            above = unit.split(".") if is_package else unit.split(".")[:-1]
            for relative, path in own.items():
                inside = Path(relative).parts[:-1]
                # Some modules put their own folder on the search path.
                folders = [str(path.parent), str(path.parents[len(inside) + is_package])]
                names = {absolute(level, name, [*above, *inside]) for level, name in imports_of(path)}
                queue += [(name, folders) for name in sorted(names - {""})]
    return files


def library_files(parts: list[str]) -> list[Path]:
    """Return the files of this package that `import worldmodels.name` runs and that count."""
    path = PACKAGE / f"{parts[1]}.py" if len(parts) > 1 else PACKAGE
    return modules(path) if path.is_file() and path.stem not in NEUTRAL else []


def absolute(level: int, name: str, package: list[str]) -> str:
    """Return the full dotted name of an import; "" if it leads out of all packages.

    Args:
        level: the dots of a relative import.
        package: the parts of the name of the package whose file has the import.
    """
    if level > len(package):
        return ""
    return ".".join([*package[: len(package) - level + 1], name]).strip(".") if level else name


def has_source(name: str) -> bool:
    """Whether the code of a user's module is found here, so that edits of it are noticed."""
    module = name.partition(":")[0]
    return is_standard(module) or bool(users_files(module))


def fingerprint(script: str | Path, *users: str) -> str:
    """Return 16 hexadecimal digits that change when what the script runs changes.

    Args:
        users: modules of a user's own that it runs too, as `env.import`, `env.id` and `vae.model` name them.
    """
    total = hashlib.sha256()
    for path in modules(script):
        total.update(f"{path.name}\n{code_of(path)}\n".encode())
    for name in users:
        for label, path in sorted(users_files(name).items()):
            total.update(f"{name} {label}\n{code_of(path)}\n".encode())
    return total.hexdigest()[:16]
