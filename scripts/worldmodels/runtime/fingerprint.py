"""A short string for the code that a program runs. It ignores comments, docstrings and layout.

Snakemake notices neither an edit of a script behind `shell:` nor an edit of a module that the script imports. The rules
therefore carry this fingerprint as a parameter. It is the same under every supported version of Python. This module
needs the standard library alone.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from worldmodels.runtime.library import label, program_modules
from worldmodels.runtime.syntax import code_digest
from worldmodels.runtime.user_files import find_user_files


class CodeFile(NamedTuple):
    """A file whose code counts.

    Attributes:
        name: as it enters a fingerprint: a module of this library or a program, or a user's module and the file in it.
        path: where the file lies.
        digest: SHA-256 of its code, hexadecimal.
    """

    name: str
    path: Path
    digest: str


def program_fingerprint(script: str | Path, *user_modules: str) -> str:
    """Return 16 hexadecimal digits that change when the code of a program changes.

    Args:
        script: the program.
        user_modules: a user's own modules that it runs too, as `env.import`, `env.id` and `vae.model` name them.
    """
    return files_fingerprint(program_files(script, *user_modules))


def modules_fingerprint(*user_modules: str) -> str:
    """Return 16 hexadecimal digits that change when the code of a user's own modules changes."""
    return files_fingerprint(user_code(user_modules))


def program_files(script: str | Path, *user_modules: str) -> list[CodeFile]:
    """Return the files with the code that a program runs, see program_fingerprint."""
    library = [CodeFile(label(path), path, code_digest(path)) for path in program_modules(script)]
    return [*library, *user_code(user_modules)]


def user_code(user_modules: Iterable[str]) -> list[CodeFile]:
    """Return the files of a user's own modules."""
    return [
        CodeFile(f"{module} {name}", path, code_digest(path))
        for module in user_modules
        for name, path in sorted(find_user_files(module).items())
    ]


def files_fingerprint(files: Iterable[CodeFile]) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the files' names and digests."""
    return hashlib.sha256("".join(f"{file.name}\n{file.digest}\n" for file in files).encode()).hexdigest()[:16]
