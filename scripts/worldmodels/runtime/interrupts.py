"""SIGTERM, SIGINT and the end of Snakemake: stop soon, with the state saved.

Outside of `patiently` a signal raises Interrupted wherever the program is. Inside, it only sets a flag. The loop calls
`check` between two steps, when its state is complete.
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
SAVING_SECONDS = 300  # how long a program may save its state after Snakemake has ended
_patient = False
_received: int | None = None
_notify: Callable[[], None] | None = None  # called when the first signal has come


class Interrupted(BaseException):
    """The program was asked to stop. A BaseException, so that no handler of errors catches it."""

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
    """Have SIGTERM and SIGINT raise Interrupted from now on or, inside of `patiently`, set the flag.

    A signal that the parent process ignores for this one stays ignored. So a shell treats SIGINT for background jobs.

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
    """Have the first signal wait for `check` inside of the context. A second signal raises Interrupted at once."""
    global _patient
    before, _patient = _patient, True
    try:
        yield
    finally:
        _patient = before


def requested() -> bool:
    """Return whether a signal has come."""
    return _received is not None


def check() -> None:
    """Raise Interrupted if a signal has come. Call it when the state is saved."""
    if _received is not None:
        raise Interrupted(_received)


def process_stamp(pid: int) -> str:
    """Return a text that tells a living process from all others, also on other machines and at other times.

    It consists of the process's number and start, the start of the machine, and the namespace of the numbers.

    Returns:
        "" if the process has ended, and for all processes where there is no /proc, as on macOS.
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
    """Stop as on SIGTERM once the Snakemake that started this program has ended, also by SIGKILL.

    The next Snakemake would start the same program again. A program that was started by hand goes on, and so does one
    on another machine than its Snakemake.
    """
    stamp = os.environ.get(STARTER, "")
    here = process_stamp(os.getpid()).split(" ", 2)[2:]
    if stamp and here and stamp.split(" ", 2)[2:] == here:
        threading.Thread(target=end_after, args=(stamp,), daemon=True).start()


def end_after(stamp: str) -> None:
    """Wait for the end of the process with this stamp. Then end this one, which may save its state first."""
    pid = int(stamp.split(" ", 1)[0])
    while process_stamp(pid) == stamp:
        time.sleep(0.5)
    log.info("Snakemake (process %d) has ended; saving and ending, too", pid)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
    time.sleep(SAVING_SECONDS)
    os._exit(128 + signal.SIGTERM)
