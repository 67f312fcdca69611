"""Errors of a user's code: whatever it raises becomes one line with the type of the error, its text and its place."""

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

MAX_CHARACTERS = 300  # of an error's text, so that it fits into a line
MAX_CAUSES = 9  # that are followed from an error

# Files that pass calls on: an error that ends there was caused by their caller or by what they called.
PASSING = re.compile(r"/gymnasium/(wrappers|utils|core|envs/registration)|/(torch|numpy)/|^<")

# What stands in errors, and in the paths of files, that draw without a display.
DRAWING_TEXT = re.compile(r"mujoco|glfw|pyglet|OpenGL|NoSuchDisplay|gladLoadGL|\bEGL\b|\bDISPLAY\b")
DRAWING_FILES = re.compile(r"/(glfw|pyglet|OpenGL)/|mujoco_rendering|mujoco/(rendering|gl_context|renderer)")
DISPLAY_HINT = "; without a display, set MUJOCO_GL=egl (or osmesa), or start the command under xvfb-run"


def place(error: BaseException) -> str:
    """Return file and line where an error arose, or "" if that is not known.

    The innermost place in the user's code comes first, then the innermost one in a library.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{relative_to_cwd(error.filename)}, line {error.lineno}"
    tracebacks = [traceback.extract_tb(cause.__traceback__) for cause in causes(error)]
    frames = [frame for innermost_last in tracebacks for frame in reversed(innermost_last)]
    frames = [frame for frame in frames if not is_project_file(Path(frame.filename))]
    users = [frame for frame in frames if is_user_file(frame.filename)]
    libraries = [frame for frame in frames if not PASSING.search(frame.filename)]
    for frame in [*users, *libraries, *frames]:
        return f"{relative_to_cwd(frame.filename)}, line {frame.lineno}"
    return ""


def causes(error: BaseException) -> list[BaseException]:
    """Return an error and the errors that it was raised from; gymnasium.make raises some errors anew."""
    chain = [error]
    while chain[-1].__cause__ is not None and len(chain) < MAX_CAUSES:
        chain.append(chain[-1].__cause__)
    return chain


def is_project_file(path: Path) -> bool:
    """Return whether a file is one of the project's programs or of its library."""
    return path.is_relative_to(PACKAGE.parent)


def is_user_file(file: str) -> bool:
    """Return whether a file belongs neither to the project nor to an installed package nor to Python itself."""
    path = Path(file)
    return not (file.startswith("<") or is_project_file(path) or is_installed(path))


def relative_to_cwd(file: str) -> str:
    """Return a path as seen from the working directory, if the file lies below it."""
    return file.removeprefix(os.getcwd() + os.sep)


def describe_error(error: BaseException) -> str:
    """Return an error as `TYPE: text (file, line)`, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # the __str__ of a user's own class of errors may fail
        text = ""
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]}..."
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    where = place(error)
    return f"{line} ({where})" if where else line


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the machine lacks memory, which is not the fault of the user's code."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)


@contextmanager
def user_code(subject: str) -> Iterator[None]:
    """Turn whatever a user's code raises inside into a UserError: `<subject> raised TYPE: text (file, line)`.

    A call of exit() is an error, too. KeyboardInterrupt, Interrupted and a lack of memory pass. So does what the
    capture of a CUDA graph raises, since its callers can do without the graph.

    Args:
        subject: what the user's code is, as `env.id: CarRacing-v3`.
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
        hint = DISPLAY_HINT if needs_display(error, line) else ""
        raise UserError(f"{subject} raised {line}{hint}") from error


def needs_display(error: BaseException, line: str) -> bool:
    """Return whether an error, described by this line, comes from drawing without a display."""
    if isinstance(error, ModuleNotFoundError) or os.environ.get("MUJOCO_GL") or os.environ.get("DISPLAY"):
        return False
    files = "".join(frame.filename for frame in traceback.extract_tb(error.__traceback__))
    return bool(DRAWING_FILES.search(files) or DRAWING_TEXT.search(line))
