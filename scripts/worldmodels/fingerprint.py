"""What code a program runs, as one short string that ignores comments, docstrings and layout.

Snakemake notices neither an edit to a script behind `shell:` nor one to a module that it imports. The
rules therefore carry this fingerprint as a parameter.
"""

import ast
import hashlib
import os
import sys
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGE = Path(__file__).parent

# Modules without influence on results: what config.py says reaches a program as flags, which the rule carries
# already; cma_options.py and preflight.py refuse settings; settings.py, cli.py and fingerprint.py parse, print and
# stamp; interrupts.py, locks.py and workers.py stop, start and keep apart processes; user_code.py words the errors of a
# user's code.
NEUTRAL = {
    "__init__", "config", "cma_options", "preflight", "settings", "cli", "fingerprint", "interrupts", "locks",
    "workers", "user_code",
}  # fmt: skip


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> set[str]:
    """The dotted names of all that a file imports, anywhere in it: a.b for `from a import b`; nothing relative."""
    nodes = list(ast.walk(parse(path)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    absolute = [node for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return names | {f"{node.module}.{alias.name}" for node in absolute for alias in node.names}


@cache  # as is `bare`: most rules run the same few modules
def imported(path: Path) -> set[str]:
    """The names of the package's modules that this file imports."""
    names = {name.split(".")[1] for name in imports(path) if name.startswith(f"{PACKAGE.name}.")}
    return names - NEUTRAL


@cache
def bare(path: Path) -> str:
    """The file's code without docstrings, comments and positions."""
    tree = ast.parse(ast.unparse(parse(path)))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)  # not ast.dump, whose text differs between versions of Python


def modules(script: str | Path) -> list[Path]:
    """The script and, transitively, the package's modules that it imports."""
    found, queue = {}, [Path(script)]
    while queue:
        path = queue.pop()
        if path in found:
            continue
        found[path] = True
        queue += [PACKAGE / f"{name}.py" for name in sorted(imported(path))]
    return sorted(found, key=lambda path: path.name)


def users_files(name: str) -> list[Path]:
    """The files of a user's module or package, named `module` or `module:Class`, and of those beside it, or in the
    working directory, that it imports; none if it is not found here."""
    top, *rest = name.partition(":")[0].split(".")
    if top == PACKAGE.name and rest:
        return modules(PACKAGE / f"{rest[0]}.py")
    found, queue = {}, [(top, [*sys.path, os.getcwd()])] if top else []
    while queue:
        top, places = queue.pop()
        spec = PathFinder.find_spec(top, places) if top not in found else None
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        package = bool(spec.submodule_search_locations)
        found[top] = sorted(origin.parent.rglob("*.py")) if package else [origin]
        if "site-packages" not in origin.parts:
            beside = [str(origin.parents[1 if package else 0]), os.getcwd()]
            queue += [(name, beside) for path in found[top] for name in sorted(top_level(path))]
    return [path for top in sorted(found) for path in found[top]]


def top_level(path: Path) -> set[str]:
    """The modules and packages that a user's file imports; none of a broken or binary one."""
    try:
        return {name.partition(".")[0] for name in imports(path)} - {PACKAGE.name}
    except (SyntaxError, ValueError):
        return set()


def users_code(path: Path) -> str:
    """The code of a user's file; as it stands, if it is an installed one, of which there may be many, or broken."""
    if "site-packages" not in path.parts:
        try:
            return bare(path)
        except SyntaxError:
            pass
    return path.read_bytes().decode(errors="replace")


def fingerprint(script: str | Path, *users: str) -> str:
    """16 hexadecimal digits that change when what the script runs changes.

    Args:
        users: modules of a user's own that it runs too, as `env.import` and `vae.model` name them.
    """
    total = hashlib.sha256()
    for path in modules(script):
        total.update(f"{path.name}\n{bare(path)}\n".encode())
    for name in users:
        for path in users_files(name):
            total.update(f"{name} {path.name}\n{users_code(path)}\n".encode())
    return total.hexdigest()[:16]
