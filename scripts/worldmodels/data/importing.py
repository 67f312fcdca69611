"""Episodes that others made, converted to rollout files: .npz files of other programs, and Minari datasets."""

import dataclasses
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.data.episodes import as_frames, as_numbers, check_rollout
from worldmodels.data.shards import summarize_episode
from worldmodels.envs.actions import ActionCodec
from worldmodels.envs.frames import frames_for_v
from worldmodels.runtime import preflight
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.paths import shard_episodes, shard_files, shard_name
from worldmodels.runtime.progress import progress
from worldmodels.runtime.sources import Source
from worldmodels.storage.files import write_json
from worldmodels.storage.npz import read_npz, write_npz

# The names under which programs write an array. The first one is ours.
NAMES = {
    "observations": ("observations", "observation", "obs", "frames", "images", "image"),
    "actions": ("actions", "action", "act"),
    "rewards": ("rewards", "reward", "rew"),
    "terminals": ("terminals", "terminal", "terminations", "terminated", "is_terminal", "dones", "done"),
}


def import_shard(
    data_dir: str,
    env: EnvConfig,
    rollouts: RolloutsConfig,
    source: Source,
    shard: int,
    codec: ActionCodec,
    origin: dict | None = None,
) -> dict:
    """Convert the episodes of one shard to rollout files, and write its summary, <shard>.json, beside them.

    Nothing is written unless all episodes of the shard can be used.

    Args:
        data_dir: folder of the files.
        env: the environment, for the size of the frames.
        rollouts: the settings of the rollouts.
        source: the episodes.
        shard: number of the shard.
        codec: of the environment's actions.
        origin: goes into the summary, see product_origin.

    Returns:
        The summary, see collection.collect_shard.

    Raises:
        UserError: an episode cannot be used. Where there are several, each has an error in the log.
    """
    episodes = shard_episodes(shard, rollouts.shard_size, rollouts.num_rollouts)
    converted, errors = [], []
    for place, arrays in progress(read_source(source, episodes), f"import {shard_name(shard)}", len(episodes)):
        try:
            if isinstance(arrays, UserError):
                raise arrays
            converted.append((place, convert_episode(place, arrays, env, rollouts, codec)))
        except UserError as error:
            errors.append(error)
    report_errors(errors, len(episodes))
    summaries = {}
    for file, (place, arrays) in zip(shard_files(data_dir, shard, rollouts.shard_size), converted):
        write_npz(file, arrays, rollouts.compress)
        summaries[Path(file).name] = summarize_episode(file, "imported", arrays) | {"source": Path(place).name}
    actions = preflight.recorded_actions(codec.summary, env)
    summary = {"backend": "import", "versions": {}, "episodes": summaries, "action_space": actions, **(origin or {})}
    write_json(Path(data_dir) / f"{shard_name(shard)}.json", summary)
    return summary


def report_errors(errors: list[UserError], episodes: int) -> None:
    """Raise the only error, or log all of them and raise a UserError with their number."""
    if len(errors) == 1:
        raise errors[0]
    for error in errors:
        log.error("error: %s", error)
    if errors:
        raise UserError(
            f"rollouts.source: expected {episodes} episodes that can be used, found {len(errors)} that cannot, "
            f"such as {errors[0]}"
        )


def read_source(source: Source, episodes: range) -> Iterator[tuple[str, dict | UserError]]:
    """Yield where each episode comes from, and its arrays by our names, or why it cannot be read."""
    if source.is_minari:
        yield from read_minari(source.folder, episodes)
        return
    for number in episodes:
        path = str(source.files[number])
        try:
            yield path, read_file(path)
        except UserError as error:
            yield path, error


def read_file(path: str) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by our names.

    A file of frames and actions alone, as the paper's authors recorded them, gets rewards and terminals of 0.

    Raises:
        UserError: the file is damaged, or lacks an array, or has two for one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = [name.removesuffix(".npy") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: expected an .npz file of plain arrays, found a damaged one ({error})") from None
    chosen = {key: choose_name(path, found, names) for key, names in NAMES.items()}
    is_bare = len(found) == 2 and chosen["observations"] and chosen["actions"]
    for key, name in chosen.items():
        if not name and not (is_bare and key in ("rewards", "terminals")):
            raise UserError(f"{path}: expected {key} under one of {', '.join(NAMES[key])}, found {', '.join(found)}")
    stored = read_npz(path, tuple(name for name in chosen.values() if name))
    return {key: stored[name] for key, name in chosen.items() if name}


def choose_name(path: str, found: list[str], names: tuple[str, ...]) -> str:
    """Return the name that a file uses for an array: ours if it is there, else the only other one, else ""."""
    present = [name for name in names if name in found]
    if len(present) > 1 and present[0] != names[0]:
        raise UserError(f"{path}: expected {names[0]} under a single name, found {' and '.join(present)}")
    return present[0] if present else ""


def read_minari(folder: Path, episodes: range) -> Iterator[tuple[str, dict | UserError]]:
    """Yield the episodes of a Minari dataset, see read_source.

    Raises:
        UserError: Minari is not installed, or does not read the dataset.
    """
    try:
        import minari

        dataset = minari.MinariDataset(folder)
        for number in episodes:
            episode = dataset[number]
            arrays = {"actions": episode.actions, "rewards": episode.rewards, "terminals": episode.terminations}
            place = f"{folder}, episode {number}"
            try:
                yield place, {"observations": find_pictures(place, episode.observations), **arrays}
            except UserError as error:
                yield place, error
    except ImportError as error:
        raise UserError(
            f"rollouts.source: expected the packages of requirements-minari.txt for {folder}, found that {error}"
        ) from None
    except (ValueError, OSError, KeyError, AssertionError) as error:
        raise UserError(
            f"{folder}: expected a dataset that Minari reads, found {type(error).__name__}: {error}"
        ) from None


def find_pictures(place: str, observations: Any) -> np.ndarray:
    """Return the pictures of a Minari episode: its observations, or the only pictures in a dictionary of them."""
    if not isinstance(observations, Mapping):
        return np.asarray(observations)
    pictures = [name for name, value in observations.items() if getattr(value, "ndim", 0) == 4]
    if len(pictures) != 1:
        raise UserError(
            f"{place}: expected one kind of pictures in the observations, found {', '.join(pictures) or 'none'} "
            f"among {', '.join(observations)}"
        )
    return np.asarray(observations[pictures[0]])


def convert_episode(
    place: str, arrays: dict[str, np.ndarray], env: EnvConfig, rollouts: RolloutsConfig, codec: ActionCodec
) -> dict[str, np.ndarray]:
    """Return the arrays of a rollout file.

    Args:
        place: where the episode comes from, for messages.
        arrays: observations and actions, and rewards and terminals unless they are 0. Observations may have a last row
            more, which no action follows. Actions may have more rows, which were planned and not taken.
        env: the environment.
        rollouts: the settings of the rollouts.
        codec: of the environment's actions.

    Raises:
        UserError: the arrays are no episode of this environment.
    """
    if rollouts.source_frames == "after":
        arrays = {key: array[:-1] if key == "observations" else array[1:] for key, array in arrays.items()}
    steps = len(arrays["rewards"]) if "rewards" in arrays else len(arrays["actions"])
    zeros = np.zeros(steps, np.float32)
    observations, actions = arrays["observations"], arrays["actions"]
    for key, most in (("observations", steps + 1), ("actions", np.inf)):
        if not steps <= len(arrays[key]) <= most:
            raise UserError(f"{place}: expected {key} of {steps} rows, as many as rewards, found {len(arrays[key])}")
    episode = {
        "observations": convert_frames(place, observations[:steps], env),
        "actions": convert_actions(place, actions[:steps], codec),
        "rewards": as_numbers(arrays.get("rewards", zeros), 1),
        "terminals": as_numbers(arrays.get("terminals", zeros), 1),
    }
    check_rollout(place, episode)
    ends = np.flatnonzero(episode["terminals"][:-1])
    if len(ends):
        raise UserError(
            f"{place}: expected one episode, with a terminal in its last row alone, found one in row {ends[0]}"
        )
    return {key: array[: rollouts.seq_len] for key, array in episode.items()}


def convert_frames(place: str, array: np.ndarray, env: EnvConfig) -> np.ndarray:
    """Return frames (T, height, width, C) uint8 as V sees them. Those that have V's size already are not cropped."""
    frames = as_frames(as_bytes(array))
    if frames.ndim != 4 or frames.dtype != np.uint8 or frames.shape[-1] not in (1, 3):
        raise UserError(
            f"{place}: expected observations (T, H, W, 3), (T, H, W, 1), (T, H, W) or (T, 3, H, W) of 0 to 255, or of "
            f"floats from 0 to 1, found shape {array.shape} and type {array.dtype}"
        )
    if frames.shape[-1] == 1 and not env.grey:
        raise UserError(f"{place}: expected observations in color, or env.grey: true, found grey ones {array.shape}")
    if frames.shape[1:3] == (env.height, env.width):
        env = dataclasses.replace(env, crop=[])
    return frames_for_v(frames, env)


def as_bytes(array: np.ndarray) -> np.ndarray:
    """Return floats from 0 to 1, and floats that are whole numbers from 0 to 255, as uint8; other arrays unchanged."""
    if array.dtype.kind != "f" or not array.size or not (array.min() >= 0 and array.max() <= 255):
        return array
    if array.max() <= 1:
        return np.rint(array * 255).astype(np.uint8)
    return array.astype(np.uint8) if (array == np.rint(array)).all() else array


def convert_actions(place: str, array: np.ndarray, codec: ActionCodec) -> np.ndarray:
    """Return encoded actions (T, A) float32 of actions of the environment, or of actions that are encoded already."""
    rows = as_numbers(array.reshape(len(array), -1), 2) if len(array) else np.empty((0, codec.size), np.float32)
    if rows.dtype != np.float32 or not np.isfinite(rows).all():
        raise UserError(f"{place}: expected finite numbers as actions, found type {array.dtype}")
    if rows.shape[1] == codec.size and (codec.continuous or is_encoded(rows, codec)):
        return rows
    if not codec.continuous and rows.shape[1] == (len(codec.choices) or codec.size) and are_choices(rows, codec):
        return np.stack([codec.encode(row.astype(np.int64)) for row in rows])
    raise UserError(
        f"{place}: expected actions of {codec.space}, or of {codec.size} numbers per row, found shape {array.shape} "
        f"with values from {rows.min():g} to {rows.max():g}"
    )


def is_encoded(rows: np.ndarray, codec: ActionCodec) -> bool:
    """Return whether rows (T, A) are encoded choices or bits, see ActionCodec."""
    if not codec.choices:
        return bool((np.abs(rows) == 1).all() and (rows < 0).any())
    parts = np.split(rows, np.cumsum(codec.choices)[:-1], axis=1)
    return all(((part == 0) | (part == 1)).all() and (part.sum(axis=1) == 1).all() for part in parts)


def are_choices(rows: np.ndarray, codec: ActionCodec) -> bool:
    """Return whether rows are choices of the space, a number for each part, or bits of 0 and 1."""
    low = codec.starts if codec.choices else 0
    count = np.array(codec.choices) if codec.choices else 2
    return bool((rows == np.rint(rows)).all() and (rows >= low).all() and (rows < low + count).all())
