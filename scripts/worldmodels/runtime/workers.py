"""Workers: processes of this machine or ranks of an MPI job, one thread each.

A dead worker ends the job with an error instead of a hang. Workers leave SIGINT and SIGTERM, which reach everyone on a
terminal and in a SLURM job step, to the process that they work for: it decides what they mean.
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
from multiprocessing.util import Finalize

import torch

from worldmodels.runtime.errors import UserError

FAILURE: Exception | None = None  # what this worker's preparation raised
END: Finalize | None = None  # what this worker calls when it ends


@contextmanager
def worker_pool(count: int, prepare: Callable | None = None, *arguments, kind: str = "processes") -> Iterator[Executor]:
    """A pool of workers that each call prepare(number of the worker, *arguments) first.

    Args:
        count: processes; of an MPI job all ranks but the first take part.
        prepare: what it returns, if anything, is called when the worker ends and nothing in it has raised an error.
        kind: `processes` or `mpi`.

    A worker that dies makes every pending and later result raise BrokenExecutor at once. On any error the workers
    are ended instead of waited for.
    """
    # Read by OpenMP and BLAS when the children load them; this process has loaded its own already.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    pool = mpi_pool(prepare, arguments) if kind == "mpi" else process_pool(count, prepare, arguments)
    try:
        yield pool
        pool.shutdown()  # here, so that a signal ends workers that do not end by themselves
    except BaseException:
        for child in multiprocessing.active_children():
            child.kill()
        pool.shutdown(wait=kind != "mpi", cancel_futures=True)  # of ranks at work, `leave` makes an end
        raise


def run_prepared(function: Callable, *arguments, **options):
    """function(*arguments), or the error that this worker's preparation ended with."""
    if FAILURE is not None:
        raise FAILURE
    try:
        return function(*arguments, **options)
    except BaseException:
        if END:
            END.cancel()
        raise


class ProcessPool(ProcessPoolExecutor):
    """Processes whose first task raises what their preparation raised: an initializer's error would only end them."""

    def submit(self, function: Callable, /, *arguments, **options) -> Future:
        return super().submit(run_prepared, function, *arguments, **options)


def process_pool(count: int, prepare: Callable | None, arguments: tuple) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(count):
        numbers.put(number)
    return ProcessPool(count, mp_context=context, initializer=start_process, initargs=(numbers, prepare, arguments))


def start_process(numbers, prepare: Callable | None, arguments: tuple) -> None:
    threading.Thread(target=follow_parent, daemon=True).start()
    start(numbers.get(), prepare, arguments)


def follow_parent() -> None:
    """End this process when its parent has died, also of SIGKILL: nobody would read its results."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def start(number: int, prepare: Callable | None, arguments: tuple) -> None:
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.SIG_IGN)
    torch.set_num_threads(1)
    if not prepare:
        return
    global FAILURE, END
    try:
        end = prepare(number, *arguments)
    except Exception as error:
        FAILURE = error
        return
    if end:
        # In processes and in ranks, and before Python waits there for the processes that an environment started.
        END = Finalize(None, end, exitpriority=10)


def mpi_pool(prepare: Callable | None, arguments: tuple) -> Executor:
    """The ranks of this MPI job; the program must have been started with `python -m mpi4py.futures`."""
    check_mpi_ranks("mpi")
    from mpi4py.futures import MPIPoolExecutor

    class RankPool(MPIPoolExecutor):
        """Ranks whose first task raises what their preparation raised, as in ProcessPool."""

        def submit(self, function: Callable, /, *arguments, **options) -> Future:
            return super().submit(run_prepared, function, *arguments, **options)

    return RankPool(initializer=start_rank, initargs=(prepare, arguments))


def check_mpi_ranks(kind: str) -> None:
    """Make sure that this process is the first of several ranks, if workers of this kind are ranks.

    Raises:
        UserError: it is not, or there is no MPI.
    """
    if kind != "mpi":
        return
    how = "expected to be started as: srun -n RANKS python -m mpi4py.futures scripts/train_controller.py ..."
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise UserError(
            "ctrl.workers: expected mpi4py and an MPI library (pip install -r requirements-mpi.txt), "
            f"found none ({error})"
        ) from None
    if MPI.COMM_WORLD.Get_size() < 2:
        raise UserError(
            f"ctrl.workers: {how}, with at least 2 ranks, found 1 (does the launcher speak this MPI's PMI?)"
        )
    if MPI.COMM_WORLD.Get_rank() > 0:  # a worker's rank should not come here
        raise UserError(f"ctrl.workers: {how}, found it without mpi4py.futures")


def start_rank(prepare: Callable | None, arguments: tuple) -> None:
    from mpi4py import MPI

    start(MPI.COMM_WORLD.Get_rank() - 1, prepare, arguments)


def leave(code: int) -> None:
    """End the program; in an MPI job that failed, all its ranks."""
    mpi = sys.modules.get("mpi4py.MPI")
    if code and mpi and mpi.COMM_WORLD.Get_size() > 1:
        logging.shutdown()
        mpi.COMM_WORLD.Abort(code)
    sys.exit(code)
