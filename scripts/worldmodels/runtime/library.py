"""Which modules of this library a program runs, as its imports say.

Modules in runtime/ never count: nothing in that folder can change a result. `__init__` files do not count either: they
only export names.
"""

from pathlib import Path

from worldmodels.runtime.syntax import imports_of

PACKAGE = Path(__file__).parents[1]


def program_modules(script: str | Path) -> list[Path]:
    """Return a script and the modules of this library that it imports, directly or through others, and that count."""
    paths: set[Path] = set()
    queue = [Path(script)]
    while queue:
        path = queue.pop()
        if path in paths:
            continue
        paths.add(path)
        for level, name in imports_of(path):
            if level == 0 and in_library(name):
                queue += imported_modules(name)
    return sorted(paths, key=label)


def imported_modules(name: str) -> list[Path]:
    """Return the modules that count of an import from this library.

    A name that a package exports may come from any of its modules, so all of them count.

    Args:
        name: the dotted name that is imported, as `worldmodels.models.vae.ConvVAE` or `worldmodels.models.ConvVAE`.
    """
    folder = PACKAGE
    for part in name.split(".")[1:]:
        module = folder / f"{part}.py"
        if module.is_file():
            return [module] if counts(module) else []
        if not (folder / part).is_dir():
            break
        folder /= part
    return sorted(path for path in folder.glob("*.py") if counts(path))


def in_library(name: str) -> bool:
    """Return whether a dotted name lies in this library."""
    return name.partition(".")[0] == PACKAGE.name


def is_library_module(name: str) -> bool:
    """Return whether this library has a module or package of this dotted name."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def counts(path: Path) -> bool:
    """Return whether an edit of this module of the library can change a result."""
    return path.name != "__init__.py" and not path.is_relative_to(PACKAGE / "runtime")


def label(path: Path) -> str:
    """Return the path of a file as it enters a fingerprint, wherever the repository lies."""
    return path.relative_to(PACKAGE.parent).as_posix() if path.is_relative_to(PACKAGE) else path.name
