"""Workers: processes of this machine or ranks of an MPI job, one thread each.

A dead worker ends the job with an error instead of a hang. Workers ignore SIGINT and SIGTERM, which reach all processes
on a terminal and in a SLURM job step. The process that they work for decides what a signal means.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.util import Finalize
from typing import Any, NoReturn

import torch

from worldmodels.runtime.errors import UserError

Prepare = Callable[..., Callable[[], None] | None]


@dataclass
class WorkerProcess:
    """What a worker process keeps between its tasks.

    Attributes:
        failure: the error that its preparation raised.
        end: calls what its preparation returned, when the process ends.
    """

    failure: Exception | None = None
    end: Finalize | None = None

    def start(self, number: int, prepare: Prepare | None, arguments: tuple) -> None:
        """Set up this process and call prepare(number, *arguments); see worker_pool."""
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, signal.SIG_IGN)
        torch.set_num_threads(1)
        if prepare is None:
            return
        try:
            end = prepare(number, *arguments)
        except Exception as error:
            self.failure = error
            return
        if end is not None:
            # Works in processes and in MPI ranks, and comes before Python waits for the processes that an environment
            # has started.
            self.end = Finalize(None, end, exitpriority=10)

    def run(self, function: Callable[..., Any], arguments: tuple, keywords: dict[str, Any]) -> Any:
        """Call function(*arguments, **keywords); after a failed preparation raise its error instead."""
        if self.failure is not None:
            raise self.failure
        try:
            return function(*arguments, **keywords)
        except BaseException:
            if self.end is not None:
                self.end.cancel()
            raise


THIS_PROCESS = WorkerProcess()


@contextmanager
def worker_pool(
    count: int, prepare: Prepare | None = None, *arguments: Any, kind: str = "processes"
) -> Iterator[Executor]:
    """Start a pool of workers that each call prepare(number of the worker, *arguments) first.

    A worker that dies makes every pending and later result raise BrokenExecutor at once. On any error the workers are
    ended without waiting for their tasks.

    Args:
        count: the number of processes. In an MPI job all ranks but the first work, whatever this number.
        prepare: may return a function. The worker calls it when it ends, unless a task has raised an error.
        arguments: further arguments of prepare.
        kind: `processes` or `mpi`.

    Raises:
        UserError: the kind is `mpi`, and this is no MPI job of several ranks.
    """
    # OpenMP and BLAS read these when the children load them. This process has loaded its own already.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    pool = mpi_pool(prepare, arguments) if kind == "mpi" else process_pool(count, prepare, arguments)
    try:
        yield pool
        pool.shutdown()  # inside of `try`, so that a signal ends workers that do not end by themselves
    except BaseException:
        for child in multiprocessing.active_children():
            child.kill()
        pool.shutdown(wait=kind != "mpi", cancel_futures=True)  # `end_program` ends ranks that still work
        raise


def run_in_worker(function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
    """Call a function in this worker process; see WorkerProcess.run."""
    return THIS_PROCESS.run(function, arguments, keywords)


class ProcessPool(ProcessPoolExecutor):
    """Processes whose first task raises the error of their preparation: an initializer's error would only end them."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future:
        """Have a prepared worker call function(*arguments, **keywords)."""
        return super().submit(run_in_worker, function, *arguments, **keywords)


def process_pool(count: int, prepare: Prepare | None, arguments: tuple) -> ProcessPoolExecutor:
    """Return a pool of this many processes of this machine; see worker_pool."""
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(count):
        numbers.put(number)
    return ProcessPool(count, mp_context=context, initializer=start_process, initargs=(numbers, prepare, arguments))


def start_process(numbers: SimpleQueue, prepare: Prepare | None, arguments: tuple) -> None:
    """Start a worker in this process, with the next of the numbers."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    THIS_PROCESS.start(numbers.get(), prepare, arguments)


def end_with_parent() -> None:
    """End this process when its parent has died, also by SIGKILL: nobody would read its results."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def mpi_pool(prepare: Prepare | None, arguments: tuple) -> Executor:
    """Return a pool of the ranks of this MPI job, which `python -m mpi4py.futures` has started; see worker_pool."""
    check_mpi_ranks("mpi")
    from mpi4py.futures import MPIPoolExecutor

    class RankPool(MPIPoolExecutor):
        """Ranks whose first task raises the error of their preparation, as in ProcessPool."""

        def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future:
            """Have a prepared rank call function(*arguments, **keywords)."""
            return super().submit(run_in_worker, function, *arguments, **keywords)

    return RankPool(initializer=start_rank, initargs=(prepare, arguments))


def check_mpi_ranks(kind: str) -> None:
    """Check that this process is the first of several ranks, if workers of this kind are ranks.

    Args:
        kind: `processes` or `mpi`.

    Raises:
        UserError: the kind is `mpi`, and there is no MPI, a single rank, or this is a later rank.
    """
    if kind != "mpi":
        return
    expected = "expected to be started as: srun -n RANKS python -m mpi4py.futures scripts/train_controller.py ..."
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise UserError(
            "ctrl.workers: expected mpi4py and an MPI library (pip install -r requirements-mpi.txt), "
            f"found none ({error})"
        ) from None
    if MPI.COMM_WORLD.Get_size() < 2:
        raise UserError(
            f"ctrl.workers: {expected}, with at least 2 ranks, found 1 (does the launcher speak this MPI's PMI?)"
        )
    if MPI.COMM_WORLD.Get_rank() > 0:  # mpi4py.futures keeps the later ranks for tasks
        raise UserError(f"ctrl.workers: {expected}, found it without mpi4py.futures")


def start_rank(prepare: Prepare | None, arguments: tuple) -> None:
    """Start a worker in this MPI rank. The worker of rank 1 has the number 0."""
    from mpi4py import MPI

    THIS_PROCESS.start(MPI.COMM_WORLD.Get_rank() - 1, prepare, arguments)


def end_program(code: int) -> NoReturn:
    """End the program with this exit code. A failed MPI job ends with all its ranks."""
    mpi = sys.modules.get("mpi4py.MPI")
    if code and mpi and mpi.COMM_WORLD.Get_size() > 1:
        logging.shutdown()
        mpi.COMM_WORLD.Abort(code)
    sys.exit(code)
