"""Digests of files."""

import hashlib
from pathlib import Path

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.packages import packaged_stage


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal. The file may be a checkpoint in a package.

    Raises:
        UserError: there is no such file, or the package is damaged.
    """
    if packaged := packaged_stage(path):
        package, stage = packaged
        return package.digest(stage)
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UserError(f"{path}: expected a file, found none") from None
