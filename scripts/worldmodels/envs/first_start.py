"""First starts of simulators, one at a time on a machine.

Some simulators write files when they start, and fail if two do so at once: VizDoom makes a folder in the working
directory, and the process that comes second crashes.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def first_start() -> Iterator[None]:
    """Return a context that only one process of this user and working directory is in at a time."""
    folder = os.stat(".")
    path = Path(tempfile.gettempdir(), f"worldmodels_{os.getuid()}_{folder.st_dev}_{folder.st_ino}.lock")
    try:
        file = path.open("w")
    except OSError:  # no room for the lock: start without it
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
