"""Progress bars on a terminal, progress lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from worldmodels.runtime.log import log

SPARSE_SECONDS = 30  # between progress lines where no terminal is attached


class TerminalHandler(logging.StreamHandler):
    """Writes above a running progress bar instead of through it, and leaves details to the log file."""

    def __init__(self) -> None:
        super().__init__()
        self.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:  # as where whoever read it has ended: no reason not to save
            self.handleError(record)


def progress(items: Iterable, name: str, total: int | None = None, display: bool = True, initial: int = 0) -> Iterator:
    """The items behind a progress bar on a terminal; elsewhere a line every half minute.

    Args:
        initial: how many of the total were done before.
    """
    total = total if total is not None else len(items)  # type: ignore[arg-type]
    if sys.stderr.isatty():
        shape = {"total": total, "initial": initial, "dynamic_ncols": True, "leave": False}
        yield from tqdm(items, desc=name, disable=not display, **shape)
        return
    start = spoken = time.monotonic()
    for done, item in enumerate(items, initial):
        now = time.monotonic()
        if now - spoken > SPARSE_SECONDS:
            spoken = now
            left = (now - start) / max(done - initial, 1) * (total - done)
            log.info("%s: %d of %d, %.0f s to go", name, done, total, left)
        yield item
