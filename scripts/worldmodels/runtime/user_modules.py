"""A user's own modules: environments to register, networks to use."""

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

LOADED_MODULES: set[str] = set()  # the modules that `load` was given
CHECKED_FILES: set[Path] = set()  # the files that `warn_about_unwatched_files` has met


def load_module(module: str) -> ModuleType:
    """Import a module that is installed or lies in the working directory.

    Raises:
        ImportError: there is none, or it raises whatever error.
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
    """Name the files of a user's own that run but are in no fingerprint: an edit of them makes nothing run again.

    Such files are imported under a name that the source does not show, or by a plug-in of Gymnasium's.

    Args:
        modules: names in sys.modules.
    """
    if multiprocessing.parent_process():  # the program itself has named them
        return
    paths = {name: Path(getattr(sys.modules.get(name), "__file__", None) or "") for name in modules}
    own = {path for name, path in paths.items() if path.is_file() and is_user_file(str(path)) and not is_standard(name)}
    own -= CHECKED_FILES
    CHECKED_FILES.update(own)
    counted = (
        {os.path.realpath(path) for name in LOADED_MODULES for path in find_user_files(name).values()} if own else set()
    )
    for path in sorted(own):
        if os.path.realpath(path) not in counted:
            log.warning("%s runs, but an edit of it makes nothing run again; name its module in env.import", path)
