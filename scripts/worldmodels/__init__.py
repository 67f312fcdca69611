"""World Models (Ha & Schmidhuber, 2018): the library that the workflow's programs share, in packages by subject."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazily(package: str, modules: dict[str, list[str]]) -> tuple[Callable[[str], Any], list[str]]:
    """Return `__getattr__` and `__all__` of a package that exports names of its modules.

    A module is imported when one of its names is first used: so a dry run imports no torch, and V's training no
    gymnasium.

    Args:
        package: the package's full name.
        modules: module -> the names that it gives to the package.
    """
    home = {name: module for module, names in modules.items() for name in names}

    def load_name(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return load_name, sorted(home)
