"""Rollout files of other programs are read, and broken ones raise."""

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.files import Evil, numbered
from worldmodels.data.datasets import ObservationDataset, RolloutDataset
from worldmodels.data.episodes import read_rollout
from worldmodels.runtime.errors import UserError


def as_others_write(arrays: dict, **types) -> dict:
    """The arrays as these types."""
    return {key: array.astype(types.get(key, array.dtype)) for key, array in arrays.items()}


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        lambda a: as_others_write(a, terminals=bool, rewards=np.float64, actions=np.float64),  # ctallec/world-models
        lambda a: as_others_write(a, terminals=np.float64, rewards=np.int64, actions=np.int32, observations=np.int64),
        lambda a: as_others_write(a, terminals=np.int8, rewards=np.float16, observations=np.uint16),
        lambda a: {**a, "rewards": a["rewards"][:, None], "terminals": a["terminals"][:, None].astype(bool)},
        lambda a: {**a, "observations": a["observations"].transpose(0, 3, 1, 2)},
        lambda a: {**a, "info": np.array(["text"])},
    ],
)
def test_rollouts_of_other_programs_are_read(tmp_path, change):
    arrays = numbered(1, 10)
    np.savez(tmp_path / "x.npz", **change(arrays))
    episode = read_rollout(tmp_path / "x.npz")
    for key, array in arrays.items():
        assert episode[key].dtype == array.dtype and np.array_equal(episode[key], array), key
    item = RolloutDataset(files=[str(tmp_path / "x.npz")])[9]
    assert item["reward"] == 1009 and item["terminal"] == 1 and item["action"].dtype == torch.float32


def test_grey_frames_without_a_channel_are_read(tmp_path):
    arrays = numbered(1, 10)
    np.savez(tmp_path / "x.npz", **{**arrays, "observations": arrays["observations"][:, :40, :48, 0]})
    assert ObservationDataset(tmp_path)[0].shape == (1, 40, 48)


def test_float64_is_rounded_to_float32(tmp_path):
    arrays = numbered(0, 10)
    np.savez(tmp_path / "x.npz", **{**arrays, "rewards": np.full(10, 0.1)})
    assert (read_rollout(tmp_path / "x.npz")["rewards"] == np.float32(0.1)).all()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: a.pop("actions"), "found no actions"),
        (lambda a: a.update(rewards=a["rewards"][:-1]), "expected observations of 4 dimensions, 9 rows"),
        (lambda a: a.update(observations=a["observations"].astype(np.float32)), "expected observations .* uint8"),
        (lambda a: a.update(actions=a["actions"][:, 0]), "expected actions of 2 dimensions"),
        (lambda a: a["rewards"].__setitem__(3, np.nan), "expected finite rewards, found NaN"),
        (lambda a: a.update(rewards=np.full(10, 1e300)), "expected finite rewards, found NaN or infinity"),
        (lambda a: a.update(rewards=np.float32(1.0)), "expected observations of 4 dimensions"),
        (
            lambda a: a.update(rewards=np.array(["1.0"] * 10)),
            "expected rewards of 1 dimensions, 10 rows and type float",
        ),
        (lambda a: a.update(actions=a["actions"] + 1j), "expected actions of 2 dimensions, 10 rows and type float32"),
        (lambda a: a.update(rewards=np.zeros((10, 2))), "expected observations of 4 dimensions"),
        (lambda a: a.update(observations=a["observations"].astype(int) * 300), "expected observations .* uint8"),
        (lambda a: a.update(observations=a["observations"].astype(int) - 1), "expected observations .* uint8"),
        (lambda a: a.update(terminals=a["terminals"] * 2), "expected terminals of 0 and 1, found 2"),
        (lambda a: a.update(rewards=np.array([Evil()] * 10, dtype=object)), "found a damaged one"),
    ],
)
def test_broken_rollout_raises(tmp_path, change, message):
    arrays = numbered(0, 10)
    change(arrays)
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=rf"x\.npz: .*{message}"):
        read_rollout(tmp_path / "x.npz")


def test_truncated_or_missing_rollout_raises(tmp_path, files):
    whole = Path(files[0]).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("cut", "empty"):
        with pytest.raises(UserError, match=rf"{name}\.npz: .*found a damaged one"):
            read_rollout(tmp_path / f"{name}.npz")
    with pytest.raises(UserError, match=r"expected an \.npz file, found none"):
        read_rollout(tmp_path / "nothing.npz")
    with pytest.raises(UserError, match=r"expected rollouts \(\*.npz\), found none"):
        RolloutDataset(tmp_path / "nowhere")
