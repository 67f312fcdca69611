"""What all programs share: their flags, messages, threads, memory and errors."""

import argparse
import ctypes
import json
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
from worldmodels.runtime.curves import curves
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import SwitchAction, add_flags, section_from_args
from worldmodels.runtime.interrupts import Interrupted
from worldmodels.runtime.log import log
from worldmodels.runtime.package_settings import adopt_env
from worldmodels.runtime.paths import rollout_files
from worldmodels.runtime.progress import TerminalHandler
from worldmodels.runtime.settings import Section
from worldmodels.runtime.user_errors import is_out_of_memory
from worldmodels.runtime.workers import end_program

# Where there is no display, pygame's environments look for Wayland's, which complains about this variable.
os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())


class ProgramParser(argparse.ArgumentParser):
    """A parser whose --help shows the type of every flag, and its text as sentences.

    Texts of the programs' own flags are not edited for this: an edit of a program makes its product stale.
    """

    METAVARS = {int: "INT", float: "FLOAT", None: "PATH"}  # Flags of other types bring one along.

    def add_argument(self, *names: str, **keywords: Any) -> argparse.Action:
        """Add an argument, see argparse."""
        if names[0].startswith("--") and keywords.get("action", "store") == "store" and "choices" not in keywords:
            is_json = keywords.get("default") == "{}"
            keywords.setdefault("metavar", "JSON" if is_json else self.METAVARS.get(keywords.get("type")))
        if keywords.get("help") not in (None, argparse.SUPPRESS):
            keywords["help"] = as_sentences(keywords["help"])
        return super().add_argument(*names, **keywords)


def as_sentences(text: str) -> str:
    """Return the text of a flag as sentences: `folder to write (default: x)` as `Folder to write. Default: x`."""
    if "." not in text.split()[0]:  # a file, such as eval.json, keeps its name
        text = f"{text[0].upper()}{text[1:]}"
    text, parenthesis, default = text.partition(" (default: ")
    if parenthesis:
        return f"{text.removesuffix('.')}. Default: {default.removesuffix(')')}"
    return text if text.endswith(".") or "Default: " in text else f"{text}."


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Shows a switch as --flag, --no-flag."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, SwitchAction):
            return ", ".join(action.option_strings)
        return super()._format_action_invocation(action)


def make_parser(description: str, *sections: type[Section]) -> argparse.ArgumentParser:
    """Return a parser with the flags of all programs, of the run and of these sections."""
    parser = ProgramParser(description=description, formatter_class=HelpFormatter, allow_abbrev=False)
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="Number of cores to use. Default: all of them, %(default)s"
    )
    parser.add_argument("--log", metavar="FILE", help="Also write the messages to this file.")
    # What the workflow compares, for the summary: see identity.product_origin.
    parser.add_argument("--origin", nargs="+", type=named_text, metavar="NAME=TEXT", help=argparse.SUPPRESS)
    # The whole configuration of the run, for TensorBoard: JSON {section.key: value}.
    parser.add_argument("--hparams", type=json.loads, default={}, metavar="JSON", help=argparse.SUPPRESS)
    for section in (RunConfig, *sections):
        add_flags(parser, section)
    return parser


def named_text(word: str) -> tuple[str, str]:
    """Return the name and the text of a word NAME=TEXT.

    Raises:
        ValueError: The word has no equals sign.
    """
    name, sign, text = word.partition("=")
    if not sign:
        raise ValueError(word)
    return name, text


def add_rollout_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that select files in --data-dir; see rollout_files_from_args."""
    parser.add_argument(
        "--num-rollouts",
        type=int,
        default=0,
        metavar="INT",
        help="Learn from the first rollouts, this number of them. 0: from all files in --data-dir. Default: 0",
    )
    parser.add_argument(
        "--shard-size",
        type=int,
        default=0,
        metavar="INT",
        help="Rollouts per shard. --num-rollouts needs it. Default: 0",
    )


def rollout_files_from_args(args: argparse.Namespace) -> list[str]:
    """Return the rollout files that a program learns from, in the order of their episodes.

    Raises:
        UserError: --num-rollouts without --shard-size, or a folder without rollouts.
    """
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


def run_program(parser: argparse.ArgumentParser, main: Callable[[argparse.Namespace], Any]) -> None:
    """Parse the flags and run main(args). A user's mistake ends with one line instead of a traceback.

    Args:
        parser: see make_parser.
        main: the program. What it returns is ignored.
    """
    args = parser.parse_args()
    start_logging(args.log)
    torch.set_num_threads(max(1, args.threads))
    keep_freed_memory()
    try:
        interrupts.listen(locks.mark_ending)
        interrupts.follow_starter()
        adopt_env(args)
        run = run_config_from_args(args)
        curves.set_up(run.logdir, run.tensorboard, args.hparams)
        main(args)
    except (Interrupted, Exception) as error:
        end_program(report_error(error))
    finally:
        locks.release()


def start_logging(path: str | None) -> None:
    """Send messages to the terminal and, if there is a path, to this file.

    A file that cannot be written ends the program. A file that a running program logs to stays unchanged.
    """
    handlers: list[logging.Handler] = [TerminalHandler()]
    try:
        if path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            stream = open(path, "a", encoding="utf-8")  # noqa: SIM115
            if locks.try_file(stream):
                stream.truncate(0)
                handlers.append(logging.StreamHandler(stream))
    except OSError as error:
        sys.exit(f"error: {path}: cannot be written: {error.strerror}")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers)
    log.setLevel(logging.DEBUG)  # other loggers show warnings and errors only


def report_error(error: Interrupted | Exception) -> int:
    """Log what ended the program, and return its exit code. Call it while the error is handled."""
    if isinstance(error, Interrupted):
        log.error("stopped by %s; run the same command again to go on from the last saved state", error)
        return 128 + error.number
    if isinstance(error, UserError):
        if error.__cause__ is not None:  # where a user's code went wrong: for the log file, see TerminalHandler
            log.debug("what led to the error below", exc_info=error.__cause__)
        log.error("error: %s", error)
    elif isinstance(error, BrokenExecutor):
        log.error("error: a worker died (killed, or out of memory?); what was saved so far is kept")
    elif is_out_of_memory(error):
        log.error("error: out of memory (%s); what was saved so far is kept", str(error).partition("\n")[0])
    else:
        log.exception("error: this should not happen; please report it with the lines below")
    return 1


def keep_freed_memory() -> None:
    """Have glibc keep the memory that a batch frees for the next batch.

    Each page that is given back and taken again costs a page fault. docs/performance.md has the measurement. Blocks of
    64 MiB and more, such as the frames of a run, are still given back.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(mmap_threshold, 64 * 2**20)
    mallopt(trim_threshold, 2**31 - 1)


def run_config_from_args(args: argparse.Namespace) -> RunConfig:
    """Return the run's section from parsed flags; its defaults suit the environment where there is --env-id."""
    env = {"env_name": getattr(args, "env.id")} if hasattr(args, "env.id") else {}
    return section_from_args(args, RunConfig, **env)
