"""Worker processes: spawned, one thread each, and a dead one ends the job with an error instead of a hang."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch


def start(prepare: Callable | None, arguments: tuple) -> None:
    torch.set_num_threads(1)
    if prepare:
        prepare(*arguments)


def workers(count: int, prepare: Callable | None = None, *arguments) -> ProcessPoolExecutor:
    """A pool of processes that each call prepare(*arguments) first.

    A worker that dies makes every pending and later result raise BrokenProcessPool at once.
    """
    # Read by OpenMP and BLAS when the children load them; this process has loaded its own already.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=start, initargs=(prepare, arguments))


def queue(items: list):
    """A queue that worker processes can take these items from."""
    made = multiprocessing.get_context("spawn").SimpleQueue()
    for item in items:
        made.put(item)
    return made
