"""A short string for the code that a program runs. It ignores comments, docstrings and layout.

Snakemake notices neither an edit of a script behind `shell:` nor an edit of a module that the script imports. The rules
therefore carry this fingerprint as a parameter. It is the same under every supported version of Python. This module
needs the standard library alone.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from worldmodels.runtime.library import label, program_modules
from worldmodels.runtime.syntax import code_digest
from worldmodels.runtime.user_files import find_user_files


def program_fingerprint(script: str | Path, *user_modules: str) -> str:
    """Return 16 hexadecimal digits that change when the code of a program changes.

    Args:
        script: the program.
        user_modules: a user's own modules that it runs too, as `env.import`, `env.id` and `vae.model` name them.
    """
    library = [f"{label(path)}\n{code_digest(path)}\n" for path in program_modules(script)]
    return short_digest([*library, *user_code_texts(user_modules)])


def modules_fingerprint(*user_modules: str) -> str:
    """Return 16 hexadecimal digits that change when the code of a user's own modules changes."""
    return short_digest(user_code_texts(user_modules))


def user_code_texts(user_modules: Iterable[str]) -> list[str]:
    """Return a text for each file of a user's own modules: the module, the file's name and the digest of its code."""
    return [
        f"{module} {name}\n{code_digest(path)}\n"
        for module in user_modules
        for name, path in sorted(find_user_files(module).items())
    ]


def short_digest(texts: Iterable[str]) -> str:
    """Return the first 16 hexadecimal digits of the texts' SHA-256."""
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]
