"""Datasets split rollouts, respect the ends of episodes, and name what is wrong."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.files import LENGTHS
from worldmodels.data.datasets import ObservationDataset, RolloutDataset, share_memory
from worldmodels.data.episodes import check_split, read_rollout, split_files
from worldmodels.data.sequences import LatentSequenceDataset, SequenceDataset
from worldmodels.runtime.errors import UserError


def test_split():
    files = list("abcde")
    assert split_files(files, 0, train=True) == files
    assert split_files(files, 0, train=False) == []
    assert split_files(files, 2, train=True) == ["a", "b", "c"]
    assert split_files(files, 2, train=False) == ["d", "e"]


@pytest.mark.parametrize("number", [5, 600])
def test_too_few_files_are_all_for_training(number, caplog):
    files = list("abcde")
    assert split_files(files, number, train=True) == files and split_files(files, number, train=False) == []
    message = f"num_test_files: expected fewer than the 5 rollouts that there are, found {number}; all of them are for"
    assert caplog.text.count(message) == 2
    with pytest.raises(UserError, match="num_test_files: expected fewer than the 5 rollouts that there are, found 5"):
        check_split(5, 5)


@pytest.mark.parametrize("number", [0, 5])
@pytest.mark.parametrize("kind", ["RolloutDataset", "ObservationDataset", "SequenceDataset", "LatentSequenceDataset"])
def test_a_dataset_of_no_held_out_rollouts_is_empty(files, latents, kind, number):
    root = Path(files[0]).parent
    make = {
        "RolloutDataset": partial(RolloutDataset, root),
        "ObservationDataset": partial(ObservationDataset, root),
        "SequenceDataset": partial(SequenceDataset, root, 16),
        "LatentSequenceDataset": partial(LatentSequenceDataset, latents, 16),
    }[kind]
    data = make(train=False, num_test_files=number)
    assert len(data) == 0 and list(data) == [] and list(torch.utils.data.DataLoader(data)) == []
    with pytest.raises(IndexError):
        data[0]
    if hasattr(data, "load_next_buffer"):
        data.load_next_buffer()
    if hasattr(data, "batches"):
        assert list(data.batches(4, np.random.default_rng(0))) == []
    assert len(make(num_test_files=number)) == len(make()) > 0


def test_rollout_items(files):
    data = RolloutDataset(files=files)
    assert len(data) == sum(LENGTHS)
    item = data[50]  # the second episode's first row
    assert item["observation"].shape == (3, 64, 64) and item["observation"].max() <= 1
    assert item["observation"][0, 0, 0] == pytest.approx(1 / 255)
    assert item["reward"] == 1000 and item["action"].tolist() == [1000.0] * 3 and item["terminal"] == 0
    assert data[-1]["terminal"] == 1
    with pytest.raises(IndexError):
        data[sum(LENGTHS)]


def test_terminals_may_be_truth_values(tmp_path):
    terminals = np.arange(5) == 4
    arrays = {"observations": np.zeros((5, 64, 64, 3), np.uint8), "actions": np.zeros((5, 3)), "rewards": np.zeros(5)}
    np.savez(tmp_path / "a.npz", **arrays, terminals=terminals)
    items = list(RolloutDataset(tmp_path))
    assert [float(item["terminal"]) for item in items] == [0, 0, 0, 0, 1]
    assert {item[key].dtype for item in items for key in item} == {torch.float32}


def test_observations_are_images(files):
    item = ObservationDataset(root=files[0].rsplit("/", 1)[0])[1]
    assert item.shape == (3, 64, 64) and item[1, 0, 0] == pytest.approx(1 / 255)


def test_the_buffer_goes_round(files):
    data = RolloutDataset(files=files, buffer_size=2)
    seen = []
    for _ in range(5):
        seen.append(len(data))
        data.load_next_buffer()
    assert seen == [83, 63, 147, 65, 128]  # files 01, 23, 40, 12, 34


@pytest.mark.parametrize("buffer_size", [2, 200])
def test_batches_hold_every_frame_once(files, buffer_size):
    data = ObservationDataset(files=files, buffer_size=buffer_size)
    batches = list(data.batches(16, np.random.default_rng(0)))
    seen = {(int(f[0, 0, 0]), int(f[0, 0, 1])) for b in batches for f in b}
    assert seen == {(n, t) for n, steps in enumerate(LENGTHS) for t in range(steps)}
    assert sum(map(len, batches)) == sum(LENGTHS)
    assert sum(len(b) for b in data.batches(16, np.random.default_rng(0), limit=70)) == 70


@pytest.mark.parametrize(
    "fit, held_out, shares",
    [
        (200, 0, (200, 0)),
        (200, 1, (199, 1)),
        (200, 5, (200, 0)),
        (3, 600, (3, 0)),
        (5, 4, (1, 4)),
        (4, 3, (2, 2)),
        (2, 4, (1, 1)),
        (0, 1, (1, 1)),
    ],
)
def test_training_and_held_out_rollouts_share_the_memory(files, fit, held_out, shares):
    """Of five files; where all fit, each side has its own."""
    frames = read_rollout(files[0])["observations"].nbytes
    assert share_memory(files, (fit + 0.5) * frames / 1e9, held_out) == shares
