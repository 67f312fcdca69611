"""Calls into a user's code: whatever it raises ends with one line that says what was raised, and where."""

import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.library import PACKAGE
from worldmodels.runtime.syntax import is_installed

LONGEST = 300  # characters of an error's text that fit into a line

# Files that pass calls on: an error that ends there was caused by their caller or by what they called.
PASSING = re.compile(r"/gymnasium/(wrappers|utils|core|envs/registration)|/(torch|numpy)/|^<")
DRAWS = re.compile(r"mujoco|glfw|pyglet|OpenGL|NoSuchDisplay|gladLoadGL|\bEGL\b|\bDISPLAY\b")
DISPLAY_HINT = "; without a display, set MUJOCO_GL=egl (or osmesa), or start the command under xvfb-run"


def place(error: BaseException) -> str:
    """File and line where an error arose: the innermost ones in the user's code, else those in a library."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shorten(error.filename)}, line {error.lineno}"
    chain = [error]
    while chain[-1].__cause__ is not None and len(chain) < 9:  # gymnasium.make raises some errors anew
        chain.append(chain[-1].__cause__)
    frames = [frame for part in chain for frame in reversed(traceback.extract_tb(part.__traceback__))]
    frames = [frame for frame in frames if not is_project_file(Path(frame.filename))]
    for choice in (is_user_file, lambda file: not PASSING.search(file), lambda file: True):
        for frame in frames:
            if choice(frame.filename):
                return f"{shorten(frame.filename)}, line {frame.lineno}"
    return ""


def is_project_file(path: Path) -> bool:
    """Whether a file is one of the project's programs or of its library."""
    return path.is_relative_to(PACKAGE.parent)


def is_user_file(file: str) -> bool:
    """Whether a file is neither ours nor of an installed package nor of Python itself."""
    path = Path(file)
    return not (file.startswith("<") or is_project_file(path) or is_installed(path))


def shorten(file: str) -> str:
    """The path as seen from the working directory, if the file lies below it."""
    return file.removeprefix(os.getcwd() + os.sep)


def describe_error(error: BaseException) -> str:
    """An error as `TYPE: text (file, line)`, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # of a user's own class of errors
        text = ""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    where = place(error)
    name = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{name} ({where})" if where else name


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine lacks memory, which no code of the user's is to blame for."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)


@contextmanager
def user_code(subject: str) -> Iterator[None]:
    """Inside, whatever a user's code raises becomes a UserError: `<subject> raised TYPE: text (file, line)`.

    A call to exit() in it is an error, too. KeyboardInterrupt, Interrupted and a lack of memory pass, and so does what
    a CUDA graph's capture raises, whose callers have another way.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        capturing = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
        if capturing or is_out_of_memory(error):
            raise
        line = describe_error(error)
        files = "".join(frame.filename for frame in traceback.extract_tb(error.__traceback__))
        elsewhere = isinstance(error, ModuleNotFoundError) or os.environ.get("MUJOCO_GL")
        hint = DISPLAY_HINT if not elsewhere and needs_display(line, files) else ""
        raise UserError(f"{subject} raised {line}{hint}") from error


def needs_display(line: str, files: str) -> bool:
    """Whether an error comes from drawing without a display."""
    drawing = re.search(r"/(glfw|pyglet|OpenGL)/|mujoco_rendering|mujoco/(rendering|gl_context|renderer)", files)
    return not os.environ.get("DISPLAY") and bool(drawing or DRAWS.search(line))
