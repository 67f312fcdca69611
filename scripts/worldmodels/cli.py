"""What every program's command line shares: flags, messages, progress, threads and errors."""

import argparse
import ctypes
import hashlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from worldmodels import checkpoint, config, interrupts, locks, settings
from worldmodels.config import RunConfig
from worldmodels.fingerprint import fingerprint
from worldmodels.interrupts import Interrupted
from worldmodels.settings import Section, UserError
from worldmodels.user_code import is_out_of_memory
from worldmodels.workers import leave

log = logging.getLogger("worldmodels")

SPARSE_SECONDS = 30  # between progress lines where no terminal is attached

# Where there is no display, pygame's environments look for Wayland's, which complains about this variable.
os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())


def parser(description: str, *sections: type[Section]) -> argparse.ArgumentParser:
    """A parser with the run's flags and those of these sections."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="cores to use (default: all, %(default)s)")
    made.add_argument("--log", help="also write the messages to this file")
    made.add_argument("--origin", type=settings.from_text, help=argparse.SUPPRESS)  # from the workflow, see `origin`
    for section in (RunConfig, *sections):
        settings.add_flags(made, section)
    return made


def add_rollouts(made: argparse.ArgumentParser) -> None:
    """The flags that say which of the files in --data-dir to learn from."""
    made.add_argument("--num-rollouts", type=int, default=0, help="the first so many rollouts; 0: all files")
    made.add_argument("--shard-size", type=int, default=0, help="rollouts a shard; needed with --num-rollouts")


def rollout_files(args: argparse.Namespace) -> list[str]:
    data_dir = run_config(args).data_dir
    if args.num_rollouts:
        if args.shard_size < 1:
            raise UserError(
                "--shard-size: expected the number of rollouts in a shard beside --num-rollouts, found none"
            )
        return config.rollout_files(data_dir, args.num_rollouts, args.shard_size)
    files = sorted(str(path) for path in Path(data_dir).glob("*.npz"))
    if not files:
        raise UserError(f"{data_dir}: expected rollouts (*.npz), found none")
    return files


def main(made: argparse.ArgumentParser, body: Callable[[argparse.Namespace], Any]) -> None:
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


def run_config(args: argparse.Namespace) -> RunConfig:
    env = {"env_name": getattr(args, "env.id")} if hasattr(args, "env.id") else {}
    return settings.from_args(args, RunConfig, **env)


def identity(*parts: Any, users: Iterable[str] = ()) -> str:
    """The stamp of a saved state: this program's code, and the parts (options, digests of the inputs).

    Args:
        users: modules of a user's own that the program runs.
    """
    text = "\n".join([fingerprint(sys.argv[0], *users), *map(str, parts)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def origin(args: argparse.Namespace, inputs: Iterable[str | Path]) -> dict:
    """What a summary says of where its product comes from, for worldmodels.records: {} for a program run by hand.

    Args:
        inputs: summaries of what the product is made from; those that do not exist are left out.

    Returns:
        {"origin": what the workflow compares, by name, and "inputs", the digests}.
    """
    if args.origin is None:
        return {}
    digests = {config.input_name(path): f"sha256:{checkpoint.digest(path)}" for path in inputs if Path(path).exists()}
    return {"origin": {**args.origin, "inputs": digests}}


def summaries(files: Iterable[str]) -> list[Path]:
    """The summaries of the shards that these rollouts are in, <shard>.json beside <shard>_<number>.npz."""
    return sorted({Path(file).with_name(f"{Path(file).name.split('_')[0]}.json") for file in files})


def device(name: str) -> torch.device:
    """The device that this name asks for; `auto` takes a GPU where there is one."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and given:
            log.info("device: the CPU; CUDA_VISIBLE_DEVICES is %s, but this PyTorch finds no GPU", given)
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device: expected auto or a device that is here, found {name!r} ({str(error).splitlines()[0]})"
        ) from None
    return chosen


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
