"""One writer per folder: a lock that the operating system frees when its holder ends, however that happens.

A lock is a hidden file beside what it protects, locked by flock(2), which NFS passes on to its server. An unlocked file
means nothing: any process may lock it. The file holds who locked it, for the message to a second program.
Importing this module must stay cheap (no torch, no numpy): every dry run does it.
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

ENDING_SECONDS = 600  # how long to wait for a holder that was told to end and saves its state
RECORD_SECONDS = 1  # how long to wait for a holder that has not recorded yet who it is
NO_LOCKS = -1  # in place of a descriptor: the file system has no locks
TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.tmp")  # names of files that are being written
KEYS = ("program", "pid", "host", "since")  # of the record in a lock file
_held: dict[Path, int] = {}  # the lock files of this process and their descriptors
_without_locks: set[Path] = set()  # folders on file systems that cannot lock


def close_in_child() -> None:
    """Close the lock files that a forked process inherits: a lock lasts as long as any process has its file open."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=close_in_child)


def lock_path(folder: str | Path, unit: str = "") -> Path:
    """Return the lock file of a folder, or of a unit of the work in it."""
    return Path(folder).resolve() / (f".{unit}.lock" if unit else ".lock")


def claim(folder: str | Path, unit: str = "", program: str = "") -> None:
    """Claim a folder, or a unit of the work in it, for this process. Nothing happens if the process has it already.

    Waits for a holder that was told to end.

    Args:
        folder: an existing folder.
        unit: names a share of the folder's files that has a writer of its own.
        program: who claims it, for the message to others. Default: the name of the running script.

    Raises:
        UserError: another process holds it, or the lock file cannot be written.
    """
    path = lock_path(folder, unit)
    if path in _held:
        return
    descriptor = wait_for_lock(path, folder)
    if descriptor == NO_LOCKS:
        return
    _held[path] = descriptor
    record = {
        "program": program or Path(sys.argv[0]).name,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    write_holder(descriptor, record)


def wait_for_lock(path: Path, folder: str | Path) -> int:
    """Lock a file, after a wait if its holder was told to end.

    Args:
        path: the lock file.
        folder: what it protects, for messages.

    Returns:
        The descriptor of the lock file, or NO_LOCKS.

    Raises:
        UserError: another process holds the lock, or the lock file cannot be written.
    """
    start, announced = time.monotonic(), False
    while (descriptor := try_lock(path)) is None:
        holder = read_holder(path)
        if time.monotonic() - start >= patience_with(holder):
            raise UserError(
                f"{folder}: expected no other program that writes here, found {describe(holder)}; "
                f"if it has ended, delete {path}"  # its machine may have died before the file server was told
            )
        if holder and not announced:
            announced = True
            log.info("%s: waiting for %s, which was told to end", folder, describe(holder))
        time.sleep(0.1)
    return descriptor


def patience_with(holder: dict) -> float:
    """Return how long to wait for the holder of a lock, seconds."""
    if not holder:
        return RECORD_SECONDS
    return ENDING_SECONDS if holder.get("ending") else 0


def release(folder: str | Path | None = None, unit: str = "") -> None:
    """Give up a claim, or without a folder all claims of this process, and remove the lock files."""
    paths = list(_held) if folder is None else [lock_path(folder, unit)]
    for path in paths:
        descriptor = _held.pop(path, None)
        if descriptor is not None:
            with suppress(OSError):
                path.unlink()  # before it is unlocked, so that it is no other process's yet
            os.close(descriptor)


@contextmanager
def claimed(folder: str | Path, unit: str = "") -> Iterator[None]:
    """Hold a claim on a folder, or on a unit of the work in it, inside of the context. See `claim`."""
    claim(folder, unit)
    try:
        yield
    finally:
        release(folder, unit)


def mark_ending() -> None:
    """Record in the lock files that this process was told to end, so that others wait for it."""
    for descriptor in list(_held.values()):
        write_holder(descriptor, read_holder(descriptor) | {"ending": True})


def try_lock(path: Path) -> int | None:
    """Lock a file, which is created if necessary.

    NFS locks no file that is open for reading only. So it does not tell whether another user's file is locked: such a
    file counts as locked.

    Returns:
        The file's descriptor, None if another process has locked it, or NO_LOCKS.

    Raises:
        UserError: the file cannot be opened.
    """
    while True:
        try:
            descriptor, writable = open_lock(path)
        except OSError as error:
            raise unwritable(path.parent, error) from None
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
            warn_without_locks(path, error)
            with suppress(OSError):
                path.unlink()
            return NO_LOCKS
        os.close(descriptor)


def warn_without_locks(path: Path, error: OSError) -> None:
    """Log once per folder that its file system has no locks."""
    if path.parent in _without_locks:
        return
    _without_locks.add(path.parent)
    log.warning(
        "%s: this file system has no locks (%s); make sure that no second program writes there",
        path.parent, error.strerror,
    )  # fmt: skip


def unwritable(folder: str | Path, error: OSError) -> UserError:
    """Return the error for a folder that cannot be made or written."""
    return UserError(f"{folder}: expected a folder to write to, found that it cannot be: {error.strerror}")


def open_lock(path: Path) -> tuple[int, bool]:
    """Open a lock file, and return its descriptor and whether it is open for writing.

    Raises:
        OSError: it cannot be opened, or the folder cannot be written.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666), True
    except PermissionError as denied:
        try:
            return os.open(path, os.O_RDONLY), False  # it belongs to another user of the folder
        except FileNotFoundError:
            raise denied from None


def write_holder(descriptor: int, record: dict) -> None:
    """Write who holds a lock. An error, as of a full disk, does not matter."""
    text = json.dumps(record).encode()
    with suppress(OSError):
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
        os.fsync(descriptor)  # so that other machines see it


def read_holder(file: Path | int) -> dict:
    """Return the record of who holds a lock, or {} if there is none yet."""
    try:
        text = os.pread(file, 4096, 0) if isinstance(file, int) else file.read_bytes()
        record = json.loads(text)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def describe(holder: dict) -> str:
    """Return the holder of a lock as text for a message."""
    if not holder:
        return "another one"
    return "{program} (process {pid} on {host}, since {since})".format_map(dict.fromkeys(KEYS, "?") | holder)


def remove_leftovers(folder: str | Path) -> None:
    """Remove the files that killed programs left half-written in a folder and in the folders in it.

    The writer of a temporary file holds a lock on it, so a file without a lock has no writer. On a file system without
    locks all files stay.
    """
    for pattern in (".*.tmp", "*/.*.tmp"):
        for path in Path(folder).glob(pattern):
            if TEMPORARY.fullmatch(path.name):
                with suppress(OSError), open(path, "r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


def try_file(file: IO) -> bool:
    """Lock an open file until it is closed. Return False if another process has locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # no locks here
    return True


def lock_temporary(path: Path, file: IO) -> bool:
    """Lock a temporary file. Return False if another process took it for a leftover and removed it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return True  # no locks here, so no process removes it
    return path.exists()
