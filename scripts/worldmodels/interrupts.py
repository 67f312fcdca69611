"""SIGTERM and SIGINT: stop soon, with everything saved.

Outside of `patiently` a signal raises Interrupted where the program is. Inside, it only sets a flag that the loop
looks at between two steps, when its state is whole.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_patient = False
_received: int | None = None


class Interrupted(BaseException):
    """The program was asked to stop. BaseException, so that no handler of errors takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _handle(number: int, frame: object) -> None:
    global _received
    again = _received is not None
    _received = number
    if not _patient or again:
        raise Interrupted(number)


def listen() -> None:
    """From now on SIGTERM and SIGINT raise Interrupted or, inside of `patiently`, set the flag.

    A signal that the parent has us ignore, as a shell does with SIGINT for its background jobs, stays ignored.
    """
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
