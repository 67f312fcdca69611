"""Worker processes: spawned, one thread each; a dead one ends the job with an error instead of a hang."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import torch


def start(prepare: Callable | None, arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches everyone; the parent decides what it means
    threading.Thread(target=follow_parent, daemon=True).start()
    torch.set_num_threads(1)
    if prepare:
        prepare(*arguments)


def follow_parent() -> None:
    """End this process when its parent has died, also of SIGKILL: nobody would read its results."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def workers(count: int, prepare: Callable | None = None, *arguments) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that each call prepare(*arguments) first.

    A worker that dies makes every pending and later result raise BrokenProcessPool at once. On any error the workers
    are ended instead of waited for.
    """
    # Read by OpenMP and BLAS when the children load them; this process has loaded its own already.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=start, initargs=(prepare, arguments))
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def queue(items: list):
    """A queue that worker processes can take these items from."""
    made = multiprocessing.get_context("spawn").SimpleQueue()
    for item in items:
        made.put(item)
    return made
