"""Checkpoints: torch files of tensors and plain values, read without unpickling code."""

from pathlib import Path
from typing import IO

import torch

from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.packages import packaged_stage, weights_file
from worldmodels.storage.files import write_atomically, write_json
from worldmodels.storage.tensors import from_safetensors


class ErrorKeepingFile:
    """A binary file for torch.save that keeps the error of a write.

    torch.save turns the error of a full disk into one without a reason.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes, and keep an error."""
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()


def save_checkpoint(path: str | Path, content: dict) -> None:
    """Write a checkpoint as torch.save does, atomically.

    Raises:
        UserError: the file cannot be written.
    """

    def write(file: IO[bytes]) -> None:
        stream = ErrorKeepingFile(file)
        try:
            torch.save(content, stream)
        except RuntimeError:
            if stream.error is not None:
                raise stream.error from None
            raise

    write_atomically(path, write)


def load_checkpoint(path: str | Path, keys: tuple[str, ...] = ()) -> dict:
    """Return a dictionary written by `save_checkpoint`, its tensors on the CPU. No code in the file is ever run.

    Args:
        path: the file. It may end in .safetensors, or lie in a package, see runtime.packages.
        keys: what it must hold.

    Raises:
        UserError: the file is missing, damaged, holds anything but tensors and plain values, or lacks a key.
    """
    try:
        content = read_checkpoint(path)
    except FileNotFoundError:
        raise UserError(f"{path}: expected a checkpoint, found no file") from None
    except UserError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path}: expected a checkpoint of tensors and plain values, found a damaged or foreign file ({reason})"
        ) from None
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(f"{path}: expected a checkpoint with {', '.join(keys)}, found none of {', '.join(missing)}")
    return content


def read_checkpoint(path: str | Path) -> dict:
    """Return what a checkpoint holds, see `load_checkpoint`. The libraries' own errors pass."""
    if packaged := packaged_stage(path):
        package, stage = packaged
        return from_safetensors(package.read(weights_file(stage)))
    if str(path).endswith(".safetensors"):
        return from_safetensors(Path(path).read_bytes())
    return torch.load(path, map_location="cpu", weights_only=True)


def check_models(path: str | Path, saved: dict, name: str, models: dict[str, tuple[str, str | Path]]) -> None:
    """Check that a model was trained with the models that it is to work with.

    A copy or a link has the digest of its original. Checkpoints of earlier versions hold no digests and pass.

    Args:
        path: the checkpoint.
        saved: its content.
        name: the model that it holds: M or C.
        models: stage -> (the name of the stage's model, its file), of the models that it is to work with.

    Raises:
        UserError: the digest of a file is not the one in the checkpoint.
    """
    for stage, (model, file) in models.items():
        if saved.get(stage) not in (None, file_digest(file)):
            raise UserError(f"{path}: expected {name} trained with {file}, found another {model}'s")


def write_best(
    folder: str | Path,
    best: dict,
    history: list[dict] | None = None,
    origin: dict | None = None,
    name: str = "best",
    **texts: str,
) -> None:
    """Write best.tar and then best.json, the small summary that later stages watch.

    The summary holds the digest of best.tar, the numbers and texts in it, the origin and the history.

    Args:
        folder: where to write.
        best: the content of best.tar.
        history: the rows of the training's history.
        origin: see identity.product_origin.
        name: another name than `best`.
        texts: further entries of best.json.

    Raises:
        UserError: a file cannot be written.
    """
    folder = Path(folder)
    save_checkpoint(folder / f"{name}.tar", best)
    summary = {"sha256": file_digest(folder / f"{name}.tar")}
    summary |= {key: value for key, value in best.items() if isinstance(value, (int, float, str))}
    summary |= {**texts, **(origin or {}), "history": history or []}
    write_json(folder / f"{name}.json", summary)
