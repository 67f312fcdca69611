"""Imports of a user's own modules: environments to register, networks to use."""

import importlib
import multiprocessing
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from worldmodels.runtime.log import log
from worldmodels.runtime.user_errors import is_user_file
from worldmodels.runtime.user_files import find_user_files, is_standard

LOADED_MODULES: set[str] = set()  # the modules that load_module has imported
CHECKED_FILES: set[Path] = set()  # the files that warn_about_unwatched_files has looked at


def load_module(module: str) -> ModuleType:
    """Import a module that is installed or lies in the working directory.

    Raises:
        ImportError: there is no such module, or its import raises an error, which is the cause of this one.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    before = set(sys.modules)
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        raise ImportError(f"{type(error).__name__}: {error}") from error
    LOADED_MODULES.add(module)
    warn_about_unwatched_files(set(sys.modules) - before)
    return loaded


def warn_about_unwatched_files(modules: Iterable[str]) -> None:
    """Log the files of a user's own code that run and are in no fingerprint, so that an edit makes nothing stale.

    Such files are imported under a name that the source does not show, or by a plug-in of Gymnasium.

    Args:
        modules: names in sys.modules.
    """
    if multiprocessing.parent_process():  # the main process has logged them
        return
    paths = {name: Path(getattr(sys.modules.get(name), "__file__", None) or "") for name in modules}
    files = {
        path for name, path in paths.items() if path.is_file() and is_user_file(str(path)) and not is_standard(name)
    }
    new_files = files - CHECKED_FILES
    if not new_files:
        return
    CHECKED_FILES.update(new_files)
    watched = {os.path.realpath(path) for name in LOADED_MODULES for path in find_user_files(name).values()}
    for path in sorted(new_files):
        if os.path.realpath(path) not in watched:
            log.warning("%s runs, but an edit of it makes nothing run again; name its module in env.import", path)
