"""What code a program runs, as one short string that ignores comments, docstrings and layout.

Snakemake notices neither an edit to a script behind `shell:` nor one to a module that it imports. The rules therefore
carry this fingerprint as a parameter. It is the same under every supported version of Python, and this module needs the
standard library alone.
"""

import hashlib
from pathlib import Path

from worldmodels.runtime.library import label, program_modules
from worldmodels.runtime.syntax import code_of
from worldmodels.runtime.user_files import find_user_files


def program_fingerprint(script: str | Path, *modules: str) -> str:
    """Return 16 hexadecimal digits that change when what the script runs changes.

    Args:
        modules: a user's own modules that it runs too, as `env.import`, `env.id` and `vae.model` name them.
    """
    code = [f"{label(path)}\n{code_of(path)}\n" for path in program_modules(script)]
    return shorten([*code, *own_code(modules)])


def modules_fingerprint(*modules: str) -> str:
    """Return 16 hexadecimal digits that change when the code of a user's own modules changes."""
    return shorten(own_code(modules))


def own_code(modules: tuple[str, ...]) -> list[str]:
    """Return a text for each file of a user's own modules."""
    return [
        f"{module} {name}\n{code_of(path)}\n"
        for module in modules
        for name, path in sorted(find_user_files(module).items())
    ]


def shorten(texts: list[str]) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]
