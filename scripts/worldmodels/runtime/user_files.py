"""The files of a user's own modules and packages, found as Python finds them and without importing any.

This module needs the standard library alone.
"""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from worldmodels.runtime.library import PACKAGE, imported_modules, label, program_modules
from worldmodels.runtime.syntax import imports_of, is_installed

# The files of a package that hold code: sources, compiled modules, and modules without a source.
CODE = {".py", ".so", ".pyd", ".pyc"}


def search_path() -> list[str]:
    """Return where a program looks for modules: user_modules.load_module puts the working directory last."""
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


def find_user_files(name: str) -> dict[str, Path]:
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
            modules = [path for module in imported_modules(wanted) for path in program_modules(module)]
            files |= {label(path): path for path in modules}
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
    return is_standard(module) or bool(find_user_files(module))
