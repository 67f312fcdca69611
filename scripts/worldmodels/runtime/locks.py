"""One writer a folder: a lock that the operating system frees when its holder ends, however that happens.

A lock is a hidden file beside what it protects, locked by flock(2), which NFS passes on to its server. The file itself
means nothing: whoever finds it unlocked may have it. It holds who locked it, for the message to whoever comes second.
Importing this module is cheap, since every dry run does it.
"""

import fcntl
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log

ENDING_SECONDS = 600  # to wait for a holder that was told to end and saves its state
TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.tmp")  # names of files that are being written
KEYS = ("program", "pid", "host", "since")  # of the record in a lock file
_held: dict[Path, int] = {}  # the lock files of this process and their descriptors
_without_locks: set[Path] = set()  # folders on file systems that cannot lock


def close_in_child() -> None:
    """Close what a forked process inherits: a lock lasts as long as anybody has its file open."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=close_in_child)


def claim(folder: str | Path, unit: str = "", program: str = "") -> None:
    """Claim a folder, or a unit of the work in it, for this process; nothing happens if the process has it already.

    Waits for a holder that was told to end.

    Args:
        folder: an existing folder.
        unit: names a part of the folder's files that has a writer of its own.
        program: who claims it, for the message to others; the name of the running script by default.

    Raises:
        UserError: another process holds it, or the lock file cannot be made.
    """
    path = Path(folder).resolve() / f".{unit}{unit and '.'}lock"
    if path in _held:
        return
    start, waits = time.monotonic(), False
    while (descriptor := try_lock(path)) is None:
        holder = read_holder(path)
        patience = 1 if not holder else ENDING_SECONDS if holder.get("ending") else 0  # it may not have said so yet
        if time.monotonic() - start >= patience:
            raise UserError(
                f"{folder}: expected no other program that writes here, found {describe(holder)}; "
                f"if it has ended, delete {path}"  # its machine may have died before it could tell the file server
            )
        if holder and not waits:
            waits = True
            log.info("%s: waiting for %s, which was told to end", folder, describe(holder))
        time.sleep(0.1)
    if descriptor < 0:
        return
    _held[path] = descriptor
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    record = {"program": program or Path(sys.argv[0]).name, "pid": os.getpid(), "host": socket.gethostname()}
    write_holder(descriptor, record | {"since": since})


def release(folder: str | Path | None = None, unit: str = "") -> None:
    """Give up a claim, or all of this process; the lock files go."""
    chosen = list(_held) if folder is None else [Path(folder).resolve() / f".{unit}{unit and '.'}lock"]
    for path in chosen:
        descriptor = _held.pop(path, None)
        if descriptor is not None:
            with suppress(OSError):
                path.unlink()  # while it is locked: so it is nobody else's
            os.close(descriptor)


@contextmanager
def claimed(folder: str | Path, unit: str = "") -> Iterator[None]:
    """Inside, the folder or the unit is this process's. See `claim`."""
    claim(folder, unit)
    try:
        yield
    finally:
        release(folder, unit)


def mark_ending() -> None:
    """Tell others that this process was told to end, so that they wait for it."""
    for descriptor in list(_held.values()):
        write_holder(descriptor, read_holder(descriptor) | {"ending": True})


def try_lock(path: Path) -> int | None:
    """Lock a file: its descriptor, None if another process has it locked, -1 if the file system has no locks.

    NFS locks no file that is open for reading only. Whether another user's file is locked is not known there: it counts
    as locked.
    """
    while True:
        try:
            descriptor, writable = open_lock(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass  # its last holder has just removed it
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            if not writable:
                return None
            if path.parent not in _without_locks:
                _without_locks.add(path.parent)
                log.warning(
                    "%s: this file system has no locks (%s); make sure that no second program writes there",
                    path.parent, error.strerror,
                )  # fmt: skip
            with suppress(OSError):
                path.unlink()
            return -1
        os.close(descriptor)


def open_lock(path: Path) -> tuple[int, bool]:
    """Open a lock file: its descriptor, and whether it is open for writing."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666), True
    except PermissionError:  # another user of the folder has made it
        return os.open(path, os.O_RDONLY), False


def write_holder(descriptor: int, record: dict) -> None:
    """Write who holds a lock; a full disk is no reason to stop."""
    text = json.dumps(record).encode()
    with suppress(OSError):
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
        os.fsync(descriptor)  # for other machines


def read_holder(file: Path | int) -> dict:
    """Return who holds a lock, or nothing if it does not say so yet."""
    try:
        text = os.pread(file, 4096, 0) if isinstance(file, int) else file.read_bytes()
        record = json.loads(text)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def describe(holder: dict) -> str:
    """Name the holder of a lock in a message."""
    if not holder:
        return "another one"
    return "{program} (process {pid} on {host}, since {since})".format_map(dict.fromkeys(KEYS, "?") | holder)


def remove_leftovers(folder: str | Path) -> None:
    """Remove the files that killed programs left half-written in a folder and in the folders in it.

    Who writes a temporary file holds a lock on it, so that one without a lock is nobody's. Without locks all stay.
    """
    for pattern in (".*.tmp", "*/.*.tmp"):
        for path in Path(folder).glob(pattern):
            if TEMPORARY.fullmatch(path.name):
                with suppress(OSError), open(path, "r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


def try_file(file: IO) -> bool:
    """Lock an open file until it is closed; false if another process has it locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # no locks here
    return True


def lock_temporary(path: Path, file: IO) -> bool:
    """Show that a temporary file has a writer; false if somebody took it for a leftover and removed it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return True  # no locks here, so that nobody removes it
    return path.exists()
