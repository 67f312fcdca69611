"""Checkpoints: torch files of tensors and plain values, read without unpickling code."""

from pathlib import Path
from typing import Any

import torch

from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.storage.files import write_atomically, write_json


class ErrorKeepingFile:
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


def save_checkpoint(path: str | Path, content: dict) -> None:
    """torch.save, atomically."""

    def write(file: Any) -> None:
        stream = ErrorKeepingFile(file)
        try:
            torch.save(content, stream)
        except RuntimeError:
            if stream.error:
                raise stream.error from None
            raise

    write_atomically(path, write)


def load_checkpoint(path: str | Path, keys: tuple[str, ...] = ()) -> dict:
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


def check_models(path: str | Path, saved: dict, name: str, models: dict[str, tuple[str, str | Path]]) -> None:
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
        if saved.get(stage) not in (None, file_digest(file)):
            raise UserError(f"{path}: expected {name} trained with {file}, found another {model}'s")


def write_best(
    folder: str | Path, best: dict, history: list[dict] | None = None, origin: dict | None = None, **more: str
) -> None:
    """best.tar and, last, the small best.json that later stages watch: its digest, numbers, origin and history.

    Args:
        more: what best.json says besides.
    """
    folder = Path(folder)
    save_checkpoint(folder / "best.tar", best)
    numbers = {key: value for key, value in best.items() if isinstance(value, (int, float, str))}
    summary = {
        "sha256": file_digest(folder / "best.tar"),
        **numbers,
        **more,
        **(origin or {}),
        "history": history or [],
    }
    write_json(folder / "best.json", summary)
