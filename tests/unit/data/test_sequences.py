"""Sequences stay inside episodes, and an epoch meets every row once."""

import numpy as np
import pytest
import torch

from helpers.files import LENGTHS
from worldmodels.data.latents import LATENT_KEYS
from worldmodels.data.sequences import LatentSequenceDataset, SequenceDataset, count_sequences, cut_episodes
from worldmodels.runtime.errors import UserError
from worldmodels.storage.npz import read_npz, write_npz


def check_sequence(item: dict, seq_len: int, key: str = "rewards") -> None:
    assert len(item["rewards"]) == seq_len
    rewards = item["rewards"][item["padding"] == 0]
    assert torch.equal(rewards, rewards[0] + torch.arange(float(len(rewards))))  # consecutive rows ...
    number = int(rewards[0]) // 1000
    assert int(rewards[-1]) - number * 1000 < LENGTHS[number]  # ... of one episode
    assert 0 < len(rewards) <= seq_len and (item["padding"].diff() >= 0).all()
    assert torch.equal(item["actions"][:, 0], item["rewards"])


@pytest.mark.parametrize("epoch", [None, 1, 2, 3])
def test_latent_sequences_stay_inside_episodes(latents, epoch):
    data = LatentSequenceDataset(latents, 32)
    rng = None if epoch is None else np.random.default_rng(epoch)
    for batch in data.batches(3, rng):
        for i in range(batch["rewards"].shape[1]):
            item = {key: value[:, i] for key, value in batch.items()}
            check_sequence(item, 32)
            assert torch.equal(item["latents"][:, 0], item["rewards"])
            following = item["next_latents"][:, 0] - item["latents"][:, 0]
            assert (following[item["valid"] == 1] == 1).all()  # the next row, not this one nor the one after
            assert torch.equal(item["valid"] == 1, (item["padding"] == 0) & (item["terminals"] == 0))


def epoch_of(data, seed: int | None, batch_size: int = 3, start: int = 0) -> list[list[int]]:
    """The rows, as their rewards have them, of each sequence of an epoch's batches; the padding is left out."""
    rng = None if seed is None else np.random.default_rng(seed)
    batches = list(data.batches(batch_size, rng, start))
    return [r[p == 0].int().tolist() for b in batches for r, p in zip(b["rewards"].T, b["padding"].T)]


ROWS = [number * 1000 + row for number, steps in enumerate(LENGTHS) for row in range(steps)]
FIRST_ROWS = {number * 1000 for number in range(len(LENGTHS))}


@pytest.fixture(params=["latents", "frames", "frames that do not fit the memory"])
def sequences(request, latents, files):
    if request.param == "latents":
        return LatentSequenceDataset(latents, 32)
    return SequenceDataset(files=files, seq_len=32, buffer_size=2 if "not" in request.param else 200)


def test_every_row_is_met_once_per_epoch(sequences):
    """The first row of an episode always starts a sequence, where M's state is zero; the last one is always there."""
    cuts = set()
    for seed in [None, *range(60)]:
        epoch = epoch_of(sequences, seed)
        assert sorted(row for rows in epoch for row in rows) == ROWS
        starts = {rows[0] for rows in epoch}
        assert starts >= FIRST_ROWS
        cuts |= starts
    middle = {4000 + row for row in range(1, 97)}  # of the longest episode
    assert len(cuts & middle) > 70


def test_epoch_resumes_from_any_batch(sequences):
    whole = epoch_of(sequences, 5)
    batches, per_batch = list(sequences.batches(3, np.random.default_rng(5))), []
    for batch in batches:
        per_batch.append(batch["rewards"].shape[1])
    for start in range(len(batches) + 1):
        assert epoch_of(sequences, 5, start=start) == whole[sum(per_batch[:start]) :]


@pytest.mark.parametrize("seq_len", [2, 3, 16, 32, 97, 98])
def test_every_epoch_has_the_same_number_of_sequences(latents, seq_len):
    data = LatentSequenceDataset(latents, seq_len)
    assert {len(epoch_of(data, seed)) for seed in range(30)} == {data.num_sequences}


def test_episodes_are_cut_into_as_few_sequences_as_possible():
    """Shares of padding: one sequence more than needed would make 0.48 of the 50 steps."""
    lengths = np.array([20, 32, 50, 64, 1000])
    counts = count_sequences(lengths, 32)
    assert counts.tolist() == [1, 1, 2, 3, 32]
    np.testing.assert_allclose(1 - lengths / (counts * 32), [0.375, 0.0, 0.21875, 1 / 3, 0.0234375])
    for length in lengths:
        firsts = {cut_episodes([0, length], 32, np.random.default_rng(seed))[0, 1] for seed in range(300)}
        assert len(firsts) >= 8 or (length <= 32 and firsts == {length})


def test_latent_split_holds_out_whole_episodes(latents):
    train = LatentSequenceDataset(latents, 16, num_test_files=2)
    test = LatentSequenceDataset(latents, 16, train=False, num_test_files=2)
    assert {int(train[i]["rewards"][0]) // 1000 for i in range(len(train))} == {0, 1, 2}
    assert {int(test[i]["rewards"][0]) // 1000 for i in range(len(test))} == {3, 4}


def test_latents_are_resampled_each_time(latents, tmp_path):
    arrays = read_npz(latents, ("latents", "logsigmas", "actions", "rewards", "terminals", "offsets"))
    write_npz(tmp_path / "l.npz", {**arrays, "logsigmas": np.zeros_like(arrays["logsigmas"])})
    data = LatentSequenceDataset(tmp_path / "l.npz", 32)
    first, second = data[0]["latents"], data[0]["latents"]
    assert not torch.equal(first, second)
    draws = torch.stack([data[0]["latents"][0, 0] for _ in range(300)])
    assert abs(draws.mean()) < 0.3 and 0.8 < draws.std() < 1.2


def test_frame_sequences_stay_inside_episodes(files):
    data = SequenceDataset(files=files, seq_len=32)
    assert len(data) == 10
    for i in range(len(data)):
        item = data[i]
        check_sequence(item, 32)
        assert item["observations"].shape == item["next_observations"].shape == (32, 3, 64, 64)
        row = (item["observations"][:, 1, 0, 0] * 255).round()
        following = (item["next_observations"][:, 1, 0, 0] * 255).round() - row
        assert (following[item["valid"] == 1] == 1).all()


def test_short_episodes_are_padded(latents):
    """From the end on nothing is to be predicted; the last row itself has a reward and a terminal to learn."""
    data = LatentSequenceDataset(latents, 98)
    assert len(data) == len(LENGTHS)
    for item, steps in zip(data, LENGTHS):
        assert item["padding"].tolist() == [0] * steps + [1] * (98 - steps)
        assert item["valid"].tolist() == [1] * (steps - 1) + [0] * (98 - steps + 1)


def test_episodes_of_one_step_raise(latents, tmp_path):
    arrays = read_npz(latents, ("latents", "logsigmas", "actions", "rewards", "terminals"))
    offsets = np.arange(len(arrays["rewards"]))
    write_npz(tmp_path / "l.npz", {**arrays, "offsets": offsets})
    with pytest.raises(UserError, match=r"mdrnn: expected episodes of at least 2 steps, found none in .*l\.npz"):
        LatentSequenceDataset(tmp_path / "l.npz", 32)


def test_arrays_in_memory_are_as_good_as_their_file(latents):
    arrays = read_npz(latents, LATENT_KEYS)
    by_file, in_memory = LatentSequenceDataset(latents, 32), LatentSequenceDataset(arrays, 32)
    for a, b in zip(by_file.batches(3, np.random.default_rng(1)), in_memory.batches(3, np.random.default_rng(1))):
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert len(by_file) == len(in_memory) == 10


def test_arrays_need_no_sigma_and_no_offsets(latents):
    """Each of these episodes ends with a terminal, here as truth values, so the terminals tell the offsets."""
    arrays = read_npz(latents, ("latents", "actions", "rewards", "terminals"))
    data = LatentSequenceDataset(arrays | {"terminals": arrays["terminals"].astype(bool)}, 32)
    assert data.offsets.tolist() == [0, *np.cumsum(LENGTHS)]
    assert data[0]["terminals"].dtype == torch.float32
    for i in range(len(data)):
        check_sequence(data[i], 32)
    assert torch.equal(data[0]["latents"], data[0]["latents"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rewards": None}, "expected latents, actions, rewards and terminals, found no rewards"),
        ({"rewards": np.zeros(3)}, r"expected rewards of 1 dimensions and 4 rows of numbers, found shape \(3,\)"),
        ({"latents": np.zeros((4, 2), object)}, "expected latents of 2 dimensions .* type object"),
        ({"offsets": [0, 4]}, r"expected offsets that ascend from 0 to below 4, found \[0, 4\]"),
        ({"offsets": [1]}, "expected offsets that ascend from 0"),
    ],
)
def test_wrong_arrays_raise(change, message):
    arrays = {
        "latents": np.zeros((4, 2)),
        "actions": np.zeros((4, 1)),
        "rewards": np.zeros(4),
        "terminals": np.zeros(4),
    }
    arrays = {key: value for key, value in (arrays | change).items() if value is not None}
    with pytest.raises(UserError, match=message):
        LatentSequenceDataset(arrays, 2)
