"""Files that are either whole or absent, and that are read without ever unpickling anything.

Everything is written to a temporary sibling, flushed to the disk and renamed. Torch files are read with
weights_only, numpy files with allow_pickle=False.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldmodels.settings import UserError


def prepare_folder(path: str | Path) -> None:
    """Make the folder, and make sure now, not after hours of work, that files can be written there."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise UserError(f"{path}: expected a folder to write to, found that it cannot be: {error.strerror}") from None


def write_atomically(path: str | Path, write: Callable[[Any], None]) -> None:
    """Call write(binary file) on a temporary sibling of path, fsync it and rename it to path."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")  # one name, so that what a kill left is written over
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: str | Path, content: dict) -> None:
    text = json.dumps(content, indent=1, sort_keys=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_json(path: str | Path, keys: tuple[str, ...] = ()) -> dict:
    """A dictionary written by `write_json`.

    Raises:
        UserError: the file is missing, damaged or lacks a key.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: expected a file, found none") from None
    except ValueError as error:
        raise UserError(f"{path}: expected JSON, found a damaged file ({error})") from None
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(f"{path}: expected {', '.join(keys)}, found none of {', '.join(missing)}")
    return content


def write_npz(path: str | Path, arrays: dict[str, np.ndarray], compress: bool = False) -> None:
    """An .npz file; the same arrays give the same bytes.

    Deflate runs at level 1: on rendered frames it is three times faster than numpy's 6 and gives 80 % of its saving.
    """

    def write(file: Any) -> None:
        method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", method, compresslevel=1) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)

    write_atomically(path, write)


def read_npz(path: str | Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of these names.

    Raises:
        UserError: the file is missing, damaged, pickled or lacks a key.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive.files]
            if missing:
                raise UserError(f"{path}: expected the keys {', '.join(keys)}, found no {', '.join(missing)}")
            return {key: archive[key] for key in keys}
    except FileNotFoundError:
        raise UserError(f"{path}: expected an .npz file, found none") from None
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib and numpy have a dozen names for a damaged file
        raise UserError(f"{path}: expected an .npz file of plain arrays, found a damaged one ({error})") from None


class Stream:
    """A binary file for torch.save, which turns a full disk into an error without a reason: here it is kept."""

    def __init__(self, file: Any) -> None:
        self.file, self.error = file, None

    def write(self, part) -> int:
        try:
            return self.file.write(part)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def save(path: str | Path, content: dict) -> None:
    """torch.save, atomically."""

    def write(file: Any) -> None:
        stream = Stream(file)
        try:
            torch.save(content, stream)
        except RuntimeError:
            if stream.error:
                raise stream.error from None
            raise

    write_atomically(path, write)


def load(path: str | Path, keys: tuple[str, ...] = ()) -> dict:
    """A dictionary written by `save`, its tensors on the CPU; no code in the file is ever run.

    Raises:
        UserError: the file is missing, damaged, holds anything but tensors and plain values, or lacks a key.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: expected a checkpoint, found no file") from None
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path}: expected a checkpoint of tensors and plain values, found a damaged or foreign file ({reason})"
        ) from None
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(f"{path}: expected a checkpoint with {', '.join(keys)}, found none of {', '.join(missing)}")
    return content


def digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Raises:
        UserError: there is no such file.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UserError(f"{path}: expected a file, found none") from None


def load_state(path: str | Path, identity: str, report: Callable[[str], None]) -> dict | None:
    """A stage's saved state if there is one of the same configuration, code and data, else None.

    A state of another identity is kept as <stem>.<the identity's first 8 digits>.tar, from where it is taken up again
    once that identity is back; a damaged one is set aside as *.damaged. All is reported.
    """
    path = Path(path)
    state = read_state(path, report)
    if state is not None and state["identity"] == identity:
        return state
    if state is not None:
        aside = path.with_name(f"{path.stem}.{state['identity'][:8]}.tar")
        os.replace(path, aside)
        report(f"{path}: belongs to another configuration, code or data; kept as {aside}, starting over")
    kept = path.with_name(f"{path.stem}.{identity[:8]}.tar")
    state = read_state(kept, report)
    if state is None or state["identity"] != identity:
        return None
    os.replace(kept, path)
    report(f"{path}: this configuration, code and data were here before; taken up from {kept}")
    return state


def read_state(path: Path, report: Callable[[str], None]) -> dict | None:
    """A saved state of whatever identity; a damaged one is set aside."""
    if not path.exists():
        return None
    try:
        return load(path, ("identity",))
    except UserError as error:
        aside = path.with_name(path.name + ".damaged")
        os.replace(path, aside)
        report(f"{error}; set aside as {aside}, starting over")
        return None


def write_best(folder: str | Path, best: dict, history: list[dict] | None = None, origin: dict | None = None) -> None:
    """best.tar and, last, the small best.json that later stages watch: its digest, numbers, origin and history."""
    folder = Path(folder)
    save(folder / "best.tar", best)
    numbers = {key: value for key, value in best.items() if isinstance(value, (int, float, str))}
    summary = {"sha256": digest(folder / "best.tar"), **numbers, **(origin or {}), "history": history or []}
    write_json(folder / "best.json", summary)
