"""What every program's command line shares: flags, messages, progress, threads and errors."""

import argparse
import ctypes
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import torch

from worldmodels.runtime import interrupts, locks
from worldmodels.runtime.config import RunConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import add_flags, section_from_args
from worldmodels.runtime.interrupts import Interrupted
from worldmodels.runtime.log import log
from worldmodels.runtime.paths import rollout_files
from worldmodels.runtime.progress import TerminalHandler
from worldmodels.runtime.settings import Section
from worldmodels.runtime.user_errors import is_out_of_memory
from worldmodels.runtime.workers import leave

# Where there is no display, pygame's environments look for Wayland's, which complains about this variable.
os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())


def make_parser(description: str, *sections: type[Section]) -> argparse.ArgumentParser:
    """A parser with the run's flags and those of these sections."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="cores to use (default: all, %(default)s)")
    made.add_argument("--log", help="also write the messages to this file")
    # What the workflow compares, for the summary: see identity.product_origin.
    made.add_argument("--origin", nargs="+", type=named_text, metavar="NAME=TEXT", help=argparse.SUPPRESS)
    for section in (RunConfig, *sections):
        add_flags(made, section)
    return made


def named_text(word: str) -> tuple[str, str]:
    """Return the name and the text of a word NAME=TEXT.

    Raises:
        ValueError: The word has no equals sign.
    """
    name, sign, text = word.partition("=")
    if not sign:
        raise ValueError(word)
    return name, text


def add_rollout_flags(made: argparse.ArgumentParser) -> None:
    """The flags that say which of the files in --data-dir to learn from."""
    made.add_argument("--num-rollouts", type=int, default=0, help="the first so many rollouts; 0: all files")
    made.add_argument("--shard-size", type=int, default=0, help="rollouts a shard; needed with --num-rollouts")


def rollout_files_from_args(args: argparse.Namespace) -> list[str]:
    data_dir = run_config_from_args(args).data_dir
    if args.num_rollouts:
        if args.shard_size < 1:
            raise UserError(
                "--shard-size: expected the number of rollouts in a shard beside --num-rollouts, found none"
            )
        return rollout_files(data_dir, args.num_rollouts, args.shard_size)
    files = sorted(str(path) for path in Path(data_dir).glob("*.npz"))
    if not files:
        raise UserError(f"{data_dir}: expected rollouts (*.npz), found none")
    return files


def run_program(made: argparse.ArgumentParser, body: Callable[[argparse.Namespace], Any]) -> None:
    """Parse the flags, run body(args), and end a user's mistake with one line instead of a traceback."""
    args = made.parse_args()
    handlers: list[logging.Handler] = [TerminalHandler()]
    try:
        if args.log:
            Path(args.log).parent.mkdir(parents=True, exist_ok=True)
            stream = open(args.log, "a", encoding="utf-8")  # noqa: SIM115
            if locks.try_file(stream):  # else it is the log of a program that runs
                stream.truncate(0)
                handlers.append(logging.StreamHandler(stream))
    except OSError as error:
        sys.exit(f"error: {args.log}: cannot be written: {error.strerror}")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers)
    log.setLevel(logging.DEBUG)  # of the libraries warnings alone
    torch.set_num_threads(max(1, args.threads))
    keep_freed_memory()
    try:
        interrupts.listen(locks.mark_ending)
        interrupts.follow_starter()
        body(args)
    except Interrupted as signal:
        log.error("stopped by %s; run the same command again to go on from the last saved state", signal)
        leave(128 + signal.number)
    except UserError as error:
        if error.__cause__ is not None:  # where a user's code went wrong: for the log file, see TerminalHandler
            log.debug("what led to the error below", exc_info=error.__cause__)
        log.error("error: %s", error)
        leave(1)
    except BrokenExecutor:
        log.error("error: a worker died (killed, or out of memory?); what was saved so far is kept")
        leave(1)
    except Exception as error:
        if is_out_of_memory(error):
            log.error("error: out of memory (%s); what was saved so far is kept", str(error).partition("\n")[0])
            leave(1)
        log.exception("error: this should not happen; please report it with the lines below")
        leave(1)
    finally:
        locks.release()


def keep_freed_memory() -> None:
    """Have glibc keep what a batch frees for the next one: each page given back and taken anew is a fault.

    What it gives is in bench/README.md. Blocks from 64 MiB on, such as a run's frames, are given back as ever.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(mmap_threshold, 64 * 2**20)
    mallopt(trim_threshold, 2**31 - 1)


def run_config_from_args(args: argparse.Namespace) -> RunConfig:
    env = {"env_name": getattr(args, "env.id")} if hasattr(args, "env.id") else {}
    return section_from_args(args, RunConfig, **env)
