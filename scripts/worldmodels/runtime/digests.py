"""Digests of files."""

import hashlib
from pathlib import Path

from worldmodels.runtime.errors import UserError


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal.

    Raises:
        UserError: there is no such file.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UserError(f"{path}: expected a file, found none") from None
