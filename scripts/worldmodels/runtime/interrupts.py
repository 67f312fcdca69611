"""SIGTERM, SIGINT and the end of Snakemake: stop soon, with everything saved.

Outside of `patiently` a signal raises Interrupted where the program is. Inside, it only sets a flag that the loop
looks at between two steps, when its state is whole.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from worldmodels.runtime.log import log

STARTER = "WORLDMODELS_STARTER"  # environment variable: the stamp of the Snakemake that started the program
SAVING_SECONDS = 300  # for a program to save its state, once Snakemake has ended
_patient = False
_received: int | None = None
_notify: Callable[[], None] | None = None  # called when the first signal has come


class Interrupted(BaseException):
    """The program was asked to stop. BaseException, so that no handler of errors takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _handle(number: int, frame: object) -> None:
    global _received
    again = _received is not None
    _received = number
    if _notify and not again:
        _notify()
    if not _patient or again:
        raise Interrupted(number)


def listen(notify: Callable[[], None] | None = None) -> None:
    """From now on SIGTERM and SIGINT raise Interrupted or, inside of `patiently`, set the flag.

    A signal that the parent has us ignore, as a shell does with SIGINT for its background jobs, stays ignored.

    Args:
        notify: called at once when the first signal has come.
    """
    global _notify
    _notify = notify
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)


@contextmanager
def patiently() -> Iterator[None]:
    """Inside, a first signal waits for `check`; a second one is obeyed at once."""
    global _patient
    before, _patient = _patient, True
    try:
        yield
    finally:
        _patient = before


def requested() -> bool:
    """Whether a signal has come."""
    return _received is not None


def check() -> None:
    """Raise Interrupted if a signal has come: to be called when the state is saved."""
    if _received is not None:
        raise Interrupted(_received)


def process_stamp(pid: int) -> str:
    """Return what tells a living process from all others, of other machines and times, too; nothing if it has ended.

    These are its number, its start and its namespace of numbers, and the start of the machine. Without /proc, as on
    macOS, no process has a stamp.
    """
    try:
        # The fields after the name, which may hold anything: the first is the state, the 20th the start.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{pid} {fields[19]} {machine} {space}"


def follow_starter() -> None:
    """Stop as on SIGTERM once the Snakemake that started this program has ended, be it by SIGKILL.

    Nobody would read its results, and the next Snakemake starts the same program again. A program that somebody started
    by hand, and one on another machine than its Snakemake, goes on.
    """
    stamp = os.environ.get(STARTER, "")
    here = process_stamp(os.getpid()).split(" ", 2)[2:]
    if stamp and here and stamp.split(" ", 2)[2:] == here:
        threading.Thread(target=outlive, args=(stamp,), daemon=True).start()


def outlive(stamp: str) -> None:
    """Wait for the end of the process of this stamp, then end this one, which may save its state first."""
    pid = int(stamp.split(" ", 1)[0])
    while process_stamp(pid) == stamp:
        time.sleep(0.5)
    log.info("Snakemake (process %d) has ended; saving and ending, too", pid)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
    time.sleep(SAVING_SECONDS)
    os._exit(128 + signal.SIGTERM)
