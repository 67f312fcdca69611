"""Progress bars on a terminal, progress lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from worldmodels.runtime.log import log

SPARSE_SECONDS = 30  # between progress lines where no terminal is attached


class TerminalHandler(logging.StreamHandler):
    """Write messages above a running progress bar. Debug messages only go to the log file."""

    def __init__(self) -> None:
        super().__init__()
        self.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message."""
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:  # as where the reader of stderr has ended: the program goes on and saves its results
            self.handleError(record)


def progress(items: Iterable, name: str, total: int | None = None, display: bool = True, initial: int = 0) -> Iterator:
    """Yield the items with a progress bar on a terminal, elsewhere with a line every half minute.

    Args:
        items: what to yield.
        name: stands before the bar or in the line.
        total: the number of all items. Default: the length of items.
        display: whether to show the bar. Lines are always written.
        initial: the number of items that an earlier program has finished.
    """
    total = total if total is not None else len(items)  # type: ignore[arg-type]
    if sys.stderr.isatty():
        shape = {"total": total, "initial": initial, "dynamic_ncols": True, "leave": False}
        yield from tqdm(items, desc=name, disable=not display, **shape)
        return
    start = last_line = time.monotonic()
    for count, item in enumerate(items, initial):
        now = time.monotonic()
        if now - last_line > SPARSE_SECONDS:
            last_line = now
            seconds_left = (now - start) / max(count - initial, 1) * (total - count)
            log.info("%s: %d of %d, %.0f s to go", name, count, total, seconds_left)
        yield item
