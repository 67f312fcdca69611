"""A user's own modules: environments to register, networks to use."""

import importlib
import sys
from pathlib import Path
from types import ModuleType


def load(module: str) -> ModuleType:
    """Import a module that is installed or lies in the working directory.

    Raises:
        ImportError: there is none.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    return importlib.import_module(module)
