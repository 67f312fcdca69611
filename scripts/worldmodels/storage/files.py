"""Files that are either whole or absent.

Everything is written to a temporary sibling, flushed to the disk and renamed.
"""

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from worldmodels.runtime import locks
from worldmodels.runtime.errors import UserError


def prepare_folder(path: str | Path) -> None:
    """Create a folder, and check that files can be written there, before hours of work depend on it.

    Raises:
        UserError: the folder cannot be created or written to.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise locks.unwritable(path, error) from None


def claim_folder(path: str | Path, unit: str = "") -> None:
    """Prepare a stage's folder and claim it, or a unit of it, for this program alone; see `locks.claim`.

    Files that killed programs left half-written there are removed.

    Raises:
        UserError: the folder cannot be written to, or another program has claimed it.
    """
    prepare_folder(path)
    locks.claim(path, unit)
    locks.remove_leftovers(path)


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], None]) -> None:
    """Call write(binary file) on a temporary sibling of path, fsync the sibling and rename it to path.

    Several writers may work at once. Each has its own sibling, and the last one to rename wins.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, file = open_temporary(path)
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)  # while it is locked, so that no process takes it for a leftover
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                temporary.unlink()
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_temporary(path: Path) -> tuple[Path, IO[bytes]]:
    """Return the path of a new hidden sibling, and the sibling opened and locked for writing."""
    while True:
        temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}.tmp")
        file = open(temporary, "xb")  # noqa: SIM115
        if locks.lock_temporary(temporary, file):
            return temporary, file
        file.close()


def write_json(path: str | Path, content: dict) -> None:
    """Write a dictionary as JSON, atomically.

    Raises:
        UserError: the file cannot be written.
    """
    text = json.dumps(content, indent=1, sort_keys=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_json(path: str | Path, keys: tuple[str, ...] = ()) -> dict:
    """Return a dictionary written by `write_json`.

    Args:
        path: the file.
        keys: what it must hold.

    Raises:
        UserError: the file is missing, damaged or lacks a key.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: expected a file, found none") from None
    except ValueError as error:
        raise UserError(f"{path}: expected JSON, found a damaged file ({error})") from None
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(f"{path}: expected {', '.join(keys)}, found none of {', '.join(missing)}")
    return content
