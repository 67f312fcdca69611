"""The files of a user's own modules and packages, found as Python finds them and without importing any.

This module needs the standard library alone.
"""

import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from worldmodels.runtime.library import (
    PACKAGE,
    imported_modules,
    in_library,
    is_library_module,
    label,
    program_modules,
)
from worldmodels.runtime.syntax import imports_of, is_installed

# The files of a package that hold code: sources, compiled modules, and modules without a source.
CODE = {".py", ".so", ".pyd", ".pyc"}


def search_path() -> list[str]:
    """Return where a program looks for modules. user_modules.load_module puts the working directory last."""
    # Python's own entries begin with a .zip. Snakemake has other entries before them than a program has.
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    start = next((i for i, entry in enumerate(sys.path) if Path(entry).name == archive), 0)
    from_environment = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return [str(PACKAGE.parent), *from_environment, *sys.path[start:], os.getcwd()]


def find_spec(name: str, folders: list[str], package_path: list[str] | None) -> ModuleSpec | None:
    """Return what the finders of Python find of a module, without importing it.

    The hooks of editable installs are finders, too.

    Args:
        name: the dotted name of the module.
        folders: where to look for a module that is in no package.
        package_path: the folders of the module's package; None if it is in none.
    """
    for finder in sys.meta_path:
        try:
            if finder is PathFinder:  # With a dotted name it would need the imported parent.
                path = folders if package_path is None else package_path
                spec = PathFinder.find_spec(name.rpartition(".")[2], path)
            else:
                spec = finder.find_spec(name, package_path)
        except Exception:  # A hook may raise anything. The job that imports the module names the error.
            continue
        if spec is not None:
            return spec
    return None


def locate(name: str, folders: list[str]) -> tuple[str, ModuleSpec] | None:
    """Return what an import of this dotted name would find: its first part that is a module or a package.

    A folder without __init__.py has no code itself. So for `a.b` in such a folder a, this is a/b.py.

    Args:
        name: the dotted name.
        folders: where to look.

    Returns:
        The dotted name of the module or package and its spec, or None if there is none.
    """
    parts, package_path = name.split("."), None
    for end in range(1, len(parts) + 1):
        prefix = ".".join(parts[:end])
        spec = find_spec(prefix, folders, package_path)
        if spec is None:
            return None
        if spec.origin or spec.submodule_search_locations is None:
            return prefix, spec
        package_path = list(spec.submodule_search_locations)
    return None


def is_standard(name: str) -> bool:
    """Return whether a dotted name belongs to Python's standard library."""
    return name.partition(".")[0] in sys.stdlib_module_names


def files_of(spec: ModuleSpec) -> dict[str, Path]:
    """Return the files of a module or package that hold code, by their paths in it."""
    archive = getattr(spec.loader, "archive", None)  # of a .zip or .egg
    if archive:
        return {Path(archive).name: Path(archive)}
    if spec.submodule_search_locations is None:
        return {Path(spec.origin).name: Path(spec.origin)} if spec.has_location and spec.origin else {}
    entered: set[str] = set()
    return {name: path for root in spec.submodule_search_locations for name, path in code_files(root, entered)}


def code_files(root: str, entered: set[str]) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder that hold code, with their paths relative to the folder. Links are followed.

    Args:
        root: the folder.
        entered: the real paths of folders that are not entered again. This call adds its own.
    """
    for folder, subfolders, names in os.walk(root, followlinks=True):
        entered.add(os.path.realpath(folder))
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith((".", "__pycache__")) and os.path.realpath(f"{folder}/{name}") not in entered
        ]
        for name in names:
            path = Path(folder, name)
            if path.suffix in CODE and not name.startswith("."):
                yield path.relative_to(root).as_posix(), path


def find_user_files(name: str) -> dict[str, Path]:
    """Return the files that count of a user's module or package, by module and path in it.

    The module's file or all files of the package count. So do the files of each module that they import,
    unless the module is installed.

    Args:
        name: as `games.ball` or, with a class, `games.ball:Ball`.
    """
    search = UserFileSearch(name.partition(":")[0])
    search.run()
    return search.files


class UserFileSearch:
    """The search for the files of a user's module and of what it imports.

    Attributes:
        files: the files found so far, by module and path in it.
    """

    def __init__(self, module: str) -> None:
        """Prepare the search for a module, named with dots; "" finds nothing."""
        self.module, self.path = module, search_path()
        self.files: dict[str, Path] = {}
        self.units: set[str] = set()  # modules and packages whose files are found
        self.visited: set[str] = set()
        self.queue: list[tuple[str, list[str]]] = [(module, [])] if module else []

    def run(self) -> None:
        """Visit the module and all that it imports."""
        while self.queue:
            name, folders = self.queue.pop()
            if not (self.is_found(name) or name in self.visited or is_standard(name)):
                self.visited.add(name)
                self.visit(name, folders)

    def is_found(self, name: str) -> bool:
        """Return whether a dotted name lies in a module or package whose files are found."""
        parts = name.split(".")
        return any(".".join(parts[:end]) in self.units for end in range(1, len(parts) + 1))

    def visit(self, name: str, folders: list[str]) -> None:
        """Find the files of one import, and queue what they import.

        Args:
            name: the dotted name of the import.
            folders: where to look besides the search path.
        """
        if in_library(name):
            paths = [path for module in imported_modules(name) for path in program_modules(module)]
            self.files |= {label(path): path for path in paths}
            return
        unit, spec = locate(name, self.path) or locate(name, folders) or ("", None)
        if spec is None:
            return
        self.units.add(unit)
        installed = is_installed(Path(spec.origin or ""))
        if installed and name != self.module:
            return
        files = files_of(spec)
        self.files |= {f"{unit}/{relative}": path for relative, path in files.items()}
        if not installed:
            self.queue_imports(unit, spec, files)

    def queue_imports(self, unit: str, spec: ModuleSpec, files: dict[str, Path]) -> None:
        """Queue what the files of a module or package import."""
        is_package = spec.submodule_search_locations is not None
        package = unit.split(".") if is_package else unit.split(".")[:-1]
        for relative, path in files.items():
            inside = Path(relative).parts[:-1]
            # Some modules put their own folder on the search path.
            folders = [str(path.parent), str(path.parents[len(inside) + is_package])]
            names = {absolute_name(level, name, [*package, *inside]) for level, name in imports_of(path)}
            self.queue += [(name, folders) for name in sorted(names - {""})]


def absolute_name(level: int, name: str, package: list[str]) -> str:
    """Return the full dotted name of an import, or "" if it leads out of all packages.

    Args:
        level: the dots of a relative import; 0 for an absolute one.
        name: what follows the dots.
        package: the parts of the name of the package whose file has the import.
    """
    if level == 0:
        return name
    if level > len(package):
        return ""
    return ".".join([*package[: len(package) - level + 1], name]).strip(".")


def has_source(name: str) -> bool:
    """Return whether the code of a user's module is found here, so that edits of it are noticed.

    Args:
        name: as `games.ball` or, with a class, `games.ball:Ball`.
    """
    module = name.partition(":")[0]
    if in_library(module):
        return is_library_module(module)
    return is_standard(module) or bool(find_user_files(module))
