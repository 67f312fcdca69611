"""Rollout files: one episode each."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.storage.files import read_json
from worldmodels.storage.npz import read_npz

# Dimensions and type of each array of an episode.
ROLLOUT_ARRAYS = {
    "observations": (4, np.uint8),
    "actions": (2, np.float32),
    "rewards": (1, np.float32),
    "terminals": (1, np.float32),
}
ROLLOUT_KEYS = tuple(ROLLOUT_ARRAYS)


def split_files(files: list, num_test_files: int, train: bool) -> list:
    """Return the training files, or the files that are held out: the last num_test_files.

    If num_test_files is not below the number of files, none is held out, and a warning says so.

    Args:
        files: all files, in order.
        num_test_files: number of files to hold out; 0: none.
        train: whether to return the training files or the held-out ones.
    """
    if num_test_files >= len(files):
        if num_test_files:
            log.warning(
                "num_test_files: expected fewer than the %d rollouts that there are, found %d; all of them are for "
                "training, none is held out",
                len(files),
                num_test_files,
            )
        num_test_files = 0
    cut = len(files) - num_test_files  # not files[:-n], which is empty for n = 0
    return files[:cut] if train else files[cut:]


def check_split(number: int, num_test_files: int) -> None:
    """Raise UserError if the configuration holds out all rollouts, or more than there are."""
    if num_test_files >= number:
        raise UserError(
            f"num_test_files: expected fewer than the {number} rollouts that there are, found {num_test_files}"
        )


def as_frames(array: np.ndarray) -> np.ndarray:
    """Return frames (T, H, W, C), uint8 if they are integers from 0 to 255.

    Args:
        array: the frames of any program. Grey ones may lack the channel, and the channels may come first.
    """
    other_integers = array.dtype != np.uint8 and array.dtype.kind in "iu" and array.size > 0
    if other_integers and array.min() >= 0 and array.max() <= 255:
        array = array.astype(np.uint8)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[-1] > 4:
        array = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    return array


def as_numbers(array: np.ndarray, ndim: int) -> np.ndarray:
    """Return booleans, integers and floats as float32, and (T, 1) as (T,) if ndim is 1."""
    if array.dtype.kind in "biuf":
        with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite, and is refused later
            array = array.astype(np.float32, copy=False)
    return array[:, 0] if ndim == 1 and array.ndim == 2 and array.shape[1] == 1 else array


def read_rollout(path: str | Path) -> dict[str, np.ndarray]:
    """Return the episode of a rollout file.

    Files of other programs are converted to these types, see `as_frames` and `as_numbers`.

    Returns:
        observations (T, H, W, C) uint8, actions (T, A) float32, rewards (T,) float32, terminals (T,) float32.

    Raises:
        UserError: the file is missing or damaged, or its arrays are no such arrays and cannot be converted.
    """
    episode = read_npz(path, ROLLOUT_KEYS)
    for key, (ndim, dtype) in ROLLOUT_ARRAYS.items():
        episode[key] = as_frames(episode[key]) if dtype == np.uint8 else as_numbers(episode[key], ndim)
    check_rollout(path, episode)
    return episode


def check_rollout(path: str | Path, episode: dict[str, np.ndarray]) -> None:
    """Raise UserError if the arrays of an episode do not have their dimensions, types, equal lengths and values.

    Args:
        path: of the file, for the message.
        episode: its arrays.
    """
    steps = len(episode["rewards"]) if episode["rewards"].ndim == 1 else -1
    for key, (ndim, dtype) in ROLLOUT_ARRAYS.items():
        array = episode[key]
        if array.ndim != ndim or array.dtype != dtype or len(array) != steps:
            raise UserError(
                f"{path}: expected {key} of {ndim} dimensions, {steps} rows and type {np.dtype(dtype)}, "
                f"found shape {array.shape} and type {array.dtype}"
            )
        if dtype == np.float32 and not np.isfinite(array).all():
            raise UserError(f"{path}: expected finite {key}, found NaN or infinity")
    wrong = episode["terminals"][(episode["terminals"] != 0) & (episode["terminals"] != 1)]
    if len(wrong):
        raise UserError(f"{path}: expected terminals of 0 and 1, found {wrong[0]:g}")
    if not steps:
        raise UserError(f"{path}: expected an episode of at least one step, found none")


def prefetch(load: Callable[[Any], Any], items: list) -> Iterator[Any]:
    """Yield load(item) of each item in order. The next one loads in the background while one is in use."""
    with ThreadPoolExecutor(1) as background:
        loading = background.submit(load, items[0])
        for item in items[1:]:
            loaded, loading = loading.result(), background.submit(load, item)
            yield loaded
            del loaded  # two in memory, not three
        yield loading.result()


def count_steps(files: list[str]) -> int:
    """Return the environment steps that these rollouts cost: their own, and the training of the agents in them."""
    own = sum(len(read_npz(file, ("rewards",))["rewards"]) for file in files)
    agents = {}
    for path in {Path(file).with_name(Path(file).name.split("_")[0] + ".json") for file in files}:
        agent = read_json(path).get("agent") if path.exists() else None
        if agent:
            agents[agent["sha256"]] = agent["env_steps"]
    return own + sum(agents.values())
