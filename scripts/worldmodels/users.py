"""A user's own modules: environments to register, networks to use."""

import importlib
import sys
from pathlib import Path
from types import ModuleType


def load(module: str) -> ModuleType:
    """Import a module that is installed or lies in the working directory.

    Raises:
        ImportError: there is none, or it raises whatever error.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise ImportError(f"{type(error).__name__}: {error}") from error
