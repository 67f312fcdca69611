"""Folders that the processes of pytest-xdist share."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def fill_once(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], None]) -> Path:
    """Return the folder that `fill` fills.

    The first process that needs the folder fills it. The other processes wait.

    Args:
        factory: pytest's tmp_path_factory.
        name: Name of the folder.
        fill: Function of the empty folder.
    """
    shared = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    folder, filled = shared / name, shared / f"{name}.filled"
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not filled.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            fill(folder)
            filled.touch()
    return folder
