"""Saved states that a stopped stage continues from."""

import math
import os
from collections.abc import Callable
from pathlib import Path

from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import load_checkpoint


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
        return load_checkpoint(path, ("identity",))
    except UserError as error:
        aside = path.with_name(path.name + ".damaged")
        os.replace(path, aside)
        report(f"{error}; set aside as {aside}, starting over")
        return None
