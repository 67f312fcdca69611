"""Saved states that a stopped stage continues from."""

import math
import os
from collections.abc import Callable
from pathlib import Path

from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import load_checkpoint

Report = Callable[[str], None]  # gets a message about each file that is moved


def load_state(
    path: str | Path,
    identity: str,
    report: Report,
    count_epochs: Callable[[dict], int] = lambda state: 0,
    max_epochs: float = math.inf,
) -> dict | None:
    """Return a stage's saved state of this configuration, code and data, or None if there is none.

    States that are not in use are kept beside path and taken up again when they are wanted:

    - <stem>.<first 8 digits of the identity>.tar is the state of another identity.
    - <stem>.<8 digits>.<n>-epochs.tar is a state of n epochs, from a larger or smaller budget.

    A damaged state is set aside as *.damaged.

    Args:
        path: where the state in use lies.
        identity: stamp of the configuration, code and data.
        report: gets a message about each file that is kept, taken up or set aside.
        count_epochs: returns the number of epochs in a state that cannot be cut to fewer epochs.
        max_epochs: the most epochs that are wanted. Among the states with at most this number, the longest is returned.
    """
    path = Path(path)
    state = keep_other_state(path, identity, report)
    if state is None:
        state = take_up_identity(path, identity, report)
    if state is not None and count_epochs(state) > max_epochs:
        kept_path = keep_length(path, identity, count_epochs(state))
        report(f"{path}: has more epochs than are wanted now; kept as {kept_path}")
        state = None
    min_epochs = None if state is None else count_epochs(state)
    longer_state = take_up_length(path, identity, report, min_epochs, max_epochs)
    return state if longer_state is None else longer_state


def keep_other_state(path: str | Path, identity: str, report: Report) -> dict | None:
    """Return the state in use if it has this identity; keep a state of another identity under another name."""
    path = Path(path)
    state = read_state(path, report)
    if state is None or state["identity"] == identity:
        return state
    kept_path = identity_path(path, state["identity"])
    os.replace(path, kept_path)
    report(f"{path}: belongs to another configuration, code or data; kept as {kept_path}")
    return None


def take_up_identity(path: Path, identity: str, report: Report) -> dict | None:
    """Put the kept state of an identity back in use and return it; None if there is none."""
    kept_path = identity_path(path, identity)
    state = read_state_of(kept_path, identity, report)
    if state is not None:
        os.replace(kept_path, path)
        report(f"{path}: this configuration, code and data were here before; taken up from {kept_path}")
    return state


def take_up_length(path: Path, identity: str, report: Report, min_epochs: int | None, max_epochs: float) -> dict | None:
    """Put the longest kept state of an identity that is wanted in use and return it; None if there is none.

    Args:
        path: where the state in use lies.
        identity: of the states.
        report: gets a message.
        min_epochs: the number of epochs of the state in use, which is kept if a longer one is found. None: there is no
            state in use.
        max_epochs: the most epochs that are wanted.
    """
    for epochs, kept_path in sorted(kept_lengths(path, identity).items(), reverse=True):
        if epochs > max_epochs or (min_epochs is not None and epochs <= min_epochs):
            continue
        state = read_state_of(kept_path, identity, report)
        if state is None:
            continue
        if min_epochs is not None:
            keep_length(path, identity, min_epochs)
        os.replace(kept_path, path)
        report(f"{path}: {epochs} epochs were trained before; taken up from {kept_path}")
        return state
    return None


def identity_path(path: Path, identity: str) -> Path:
    """Return where the state of an identity is kept."""
    return path.with_name(f"{path.stem}.{identity[:8]}.tar")


def keep_length(path: Path, identity: str, epochs: int) -> Path:
    """Keep the state in use, which has this number of epochs, under another name, and return its new path."""
    kept_path = path.with_name(f"{path.stem}.{identity[:8]}.{epochs}-epochs.tar")
    os.replace(path, kept_path)
    return kept_path


def kept_lengths(path: Path, identity: str) -> dict[int, Path]:
    """Return the files of all kept states of an identity by their numbers of epochs."""
    start, end = f"{path.stem}.{identity[:8]}.", "-epochs.tar"
    texts = {file.name.removeprefix(start).removesuffix(end): file for file in path.parent.glob(f"{start}*{end}")}
    return {int(text): file for text, file in texts.items() if text.isdecimal()}


def read_state_of(path: Path, identity: str, report: Report) -> dict | None:
    """Return a kept state, or None if there is none or if another identity begins with the digits in its name."""
    state = read_state(path, report)
    return state if state is not None and state["identity"] == identity else None


def read_state(path: Path, report: Report) -> dict | None:
    """Return a saved state of any identity, or None if there is none; set a damaged one aside."""
    if not path.exists():
        return None
    try:
        return load_checkpoint(path, ("identity",))
    except UserError as error:
        damaged_path = path.with_name(path.name + ".damaged")
        os.replace(path, damaged_path)
        report(f"{error}; set aside as {damaged_path}, starting over")
        return None
