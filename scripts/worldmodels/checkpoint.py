"""Files that are either whole or absent, and that are read without ever unpickling anything.

Everything is written to a temporary sibling, flushed to the disk and renamed. Torch files are read with
weights_only, numpy files with allow_pickle=False.
"""

import contextlib
import hashlib
import json
import math
import os
import secrets
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldmodels import locks
from worldmodels.settings import UserError


def prepare_folder(path: str | Path) -> None:
    """Make the folder, and make sure now, not after hours of work, that files can be written there."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise UserError(f"{path}: expected a folder to write to, found that it cannot be: {error.strerror}") from None


def claim_folder(path: str | Path, unit: str = "") -> None:
    """Prepare a stage's folder and claim it, or a unit of it, for this program alone. See `locks.claim`.

    What killed programs left half-written there is removed.
    """
    prepare_folder(path)
    locks.claim(path, unit)
    locks.remove_leftovers(path)


def write_atomically(path: str | Path, write: Callable[[Any], None]) -> None:
    """Call write(binary file) on a temporary sibling of path, fsync it and rename it to path.

    Any number of writers may do so at once: each has a sibling of its own, and the last to rename wins.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, file = open_temporary(path)
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)  # while it is locked, and so nobody's leftover
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                temporary.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def open_temporary(path: Path) -> tuple[Path, Any]:
    """Return a new hidden sibling of path, and the sibling opened and locked for writing."""
    while True:
        temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}.tmp")
        file = open(temporary, "xb")  # noqa: SIM115
        if locks.lock_temporary(temporary, file):
            return temporary, file
        file.close()


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


def check_origin(path: str | Path, saved: dict, name: str, models: dict[str, tuple[str, str | Path]]) -> None:
    """Refuse a model that was made with another model than the one that is to work with it.

    A copy and a link have the digest of their original. Checkpoints from before digests were kept pass.

    Args:
        path, saved: the checkpoint and its content.
        name: what it holds: M or C.
        models: stage -> (the name of its model, its file): what this one should have been made with.

    Raises:
        UserError: a file's digest is not the one in the checkpoint.
    """
    for stage, (model, file) in models.items():
        if saved.get(stage) not in (None, digest(file)):
            raise UserError(f"{path}: expected {name} trained with {file}, found another {model}'s")


def load_state(
    path: str | Path,
    identity: str,
    report: Callable[[str], None],
    epochs: Callable[[dict], int] = lambda state: 0,
    limit: float = math.inf,
) -> dict | None:
    """Return a stage's saved state of this configuration, code and data, or None if there is none.

    All states that are not in use are kept beside path, and taken up from there when they are wanted again:
    <stem>.<the first 8 digits of the identity>.tar is the state of another identity, and
    <stem>.<8 digits>.<n>-epochs.tar a state of n epochs that a budget of fewer or of more epochs did not want.
    A damaged state is set aside as *.damaged.

    Args:
        path: where the state in use lies.
        identity: stamp of the configuration, code and data.
        report: gets a message about each file that is kept, taken up or set aside.
        epochs: the number of epochs in a state, if it cannot be cut to fewer.
        limit: the most epochs that are wanted.
    """
    path = Path(path)
    state = keep_other_state(path, identity, report)
    kept = path.with_name(f"{path.stem}.{identity[:8]}.tar")
    if state is None and (state := read_own(kept, identity, report)) is not None:
        os.replace(kept, path)
        report(f"{path}: this configuration, code and data were here before; taken up from {kept}")
    if state is not None and epochs(state) > limit:
        report(f"{path}: has more epochs than are wanted now; kept as {keep_length(path, identity, epochs(state))}")
        state = None
    for number, longer in sorted(kept_lengths(path, identity).items(), reverse=True):
        if number > limit or (state is not None and number <= epochs(state)):
            continue
        found = read_own(longer, identity, report)
        if found is None:
            continue
        if state is not None:
            keep_length(path, identity, epochs(state))
        os.replace(longer, path)
        report(f"{path}: {number} epochs were trained before; taken up from {longer}")
        return found
    return state


def keep_other_state(path: str | Path, identity: str, report: Callable[[str], None]) -> dict | None:
    """Move a state of another identity than this one out of the way; return a state of this one."""
    path = Path(path)
    state = read_state(path, report)
    if state is None or state["identity"] == identity:
        return state
    kept = path.with_name(f"{path.stem}.{state['identity'][:8]}.tar")
    os.replace(path, kept)
    report(f"{path}: belongs to another configuration, code or data; kept as {kept}")
    return None


def keep_length(path: Path, identity: str, number: int) -> Path:
    """Move the state in use, of this number of epochs, out of the way, and return where it is kept."""
    kept = path.with_name(f"{path.stem}.{identity[:8]}.{number}-epochs.tar")
    os.replace(path, kept)
    return kept


def kept_lengths(path: Path, identity: str) -> dict[int, Path]:
    """Return the files of all kept states of an identity by their numbers of epochs."""
    start, end = f"{path.stem}.{identity[:8]}.", "-epochs.tar"
    names = {file.name.removeprefix(start).removesuffix(end): file for file in path.parent.glob(f"{start}*{end}")}
    return {int(number): file for number, file in names.items() if number.isdecimal()}


def read_own(path: Path, identity: str, report: Callable[[str], None]) -> dict | None:
    """Return a kept state, or None if there is none or if the digits in its name are another identity's, too."""
    state = read_state(path, report)
    return state if state is not None and state["identity"] == identity else None


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


def write_best(
    folder: str | Path, best: dict, history: list[dict] | None = None, origin: dict | None = None, **more: str
) -> None:
    """best.tar and, last, the small best.json that later stages watch: its digest, numbers, origin and history.

    Args:
        more: what best.json says besides.
    """
    folder = Path(folder)
    save(folder / "best.tar", best)
    numbers = {key: value for key, value in best.items() if isinstance(value, (int, float, str))}
    summary = {"sha256": digest(folder / "best.tar"), **numbers, **more, **(origin or {}), "history": history or []}
    write_json(folder / "best.json", summary)
