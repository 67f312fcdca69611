"""Rollouts as data: splits, boundaries of episodes, what follows what, and errors."""

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from worldmodels import checkpoint, interrupts
from worldmodels import latents as latents_module
from worldmodels.datasets import (
    ObservationDataset,
    RolloutDataset,
    check_split,
    read_rollout,
    share_memory,
    split_files,
)
from worldmodels.latents import precompute_latents
from worldmodels.sequences import LatentSequenceDataset, SequenceDataset, count_sequences, cut_episodes
from worldmodels.settings import UserError
from worldmodels.vae import ConvVAE, encode, has_bfloat16

LENGTHS = [50, 33, 32, 31, 97]


def numbered(number: int, steps: int) -> dict:
    """An episode whose every value tells its episode and row; the last step is terminal."""
    rows = number * 1000 + np.arange(steps)
    frames = np.zeros((steps, 64, 64, 3), np.uint8)
    frames[:, 0, 0, 0], frames[:, 0, 0, 1] = number, np.arange(steps)
    return {
        "observations": frames,
        "actions": np.repeat(rows[:, None], 3, axis=1).astype(np.float32),
        "rewards": rows.astype(np.float32),
        "terminals": (np.arange(steps) == steps - 1).astype(np.float32),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("numbered")
    for number, steps in enumerate(LENGTHS):
        checkpoint.write_npz(folder / f"{number}.npz", numbered(number, steps))
    return [str(folder / f"{number}.npz") for number in range(len(LENGTHS))]


@pytest.fixture(scope="module")
def latents(tmp_path_factory) -> str:
    """Latents without noise whose every value tells its episode and row."""
    path = tmp_path_factory.mktemp("latents") / "latents_4.npz"
    episodes = [numbered(number, steps) for number, steps in enumerate(LENGTHS)]
    arrays = {key: np.concatenate([e[key] for e in episodes]) for key in ("actions", "rewards", "terminals")}
    codes = np.repeat(arrays["rewards"][:, None], 4, axis=1)
    offsets = np.cumsum([0, *LENGTHS[:-1]])
    noise = np.full_like(codes, -1000.0)
    checkpoint.write_npz(path, {"latents": codes, "logsigmas": noise, "offsets": offsets, **arrays})
    return str(path)


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


def test_every_row_is_met_once_an_epoch(sequences):
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


def test_an_epoch_goes_on_from_any_batch(sequences):
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


def test_episodes_are_not_cut_smaller_than_they_need_be():
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


def test_latents_are_sampled_anew(latents, tmp_path):
    arrays = checkpoint.read_npz(latents, ("latents", "logsigmas", "actions", "rewards", "terminals", "offsets"))
    checkpoint.write_npz(tmp_path / "l.npz", {**arrays, "logsigmas": np.zeros_like(arrays["logsigmas"])})
    data = LatentSequenceDataset(tmp_path / "l.npz", 32)
    one, other = data[0]["latents"], data[0]["latents"]
    assert not torch.equal(one, other)
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


def test_frames_through_v_are_the_latents(rollouts, tmp_path):
    torch.manual_seed(0)
    vae = ConvVAE(3, 8).eval()
    arrays = precompute_latents(vae, rollouts, tmp_path / "latents_8.npz")
    assert arrays["offsets"].tolist() == [0, 60, 120, 180, 240, 300]
    assert arrays["latents"].shape == arrays["logsigmas"].shape == (360, 8)
    frames = SequenceDataset(files=rollouts, seq_len=32)
    with torch.no_grad():
        mu, logsigma = vae.encoder(frames[1]["observations"])
    near = 2e-3 if has_bfloat16(torch.device("cpu")) else 1e-5  # frames are encoded in bfloat16 where that is faster
    np.testing.assert_allclose(mu[:28], arrays["latents"][32:60], atol=near)  # the rest of the first episode
    np.testing.assert_allclose(logsigma[:28], arrays["logsigmas"][32:60], atol=near)


def test_encoding_that_was_stopped_goes_on(rollouts, tmp_path, monkeypatch):
    torch.manual_seed(0)
    vae, said = ConvVAE(3, 8).eval(), []
    whole = precompute_latents(vae, rollouts, tmp_path / "whole.npz")
    monkeypatch.setattr(latents_module, "encode", lambda *args: (said.append(1), encode(*args))[1])
    previous = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(interrupts, "_received", None)  # and None again after the test
    interrupts.listen()
    stop_after(3, monkeypatch)
    with pytest.raises(interrupts.Interrupted):
        precompute_latents(vae, rollouts, tmp_path / "x/parts.npz", identity="same")
    assert len(said) == 3 and not (tmp_path / "x/parts.npz").exists()
    monkeypatch.setattr(interrupts, "_received", None)
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), previous):
        signal.signal(number, handler)
    parts = precompute_latents(vae, rollouts, tmp_path / "x/parts.npz", identity="same")
    assert len(said) == 6 and [path.name for path in (tmp_path / "x").iterdir()] == ["parts.npz"]
    assert all(np.array_equal(parts[key], whole[key]) for key in whole)


def stop_after(count: int, monkeypatch) -> None:
    """Send SIGTERM once so many frames' batches were encoded."""
    done = []
    plain = latents_module.encode

    def counted(*args):
        done.append(1)
        if len(done) == count:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(*args)

    monkeypatch.setattr(latents_module, "encode", counted)


def test_short_episodes_are_padded(latents):
    """From the end on nothing is to be predicted; the last row itself has a reward and a terminal to learn."""
    data = LatentSequenceDataset(latents, 98)
    assert len(data) == len(LENGTHS)
    for item, steps in zip(data, LENGTHS):
        assert item["padding"].tolist() == [0] * steps + [1] * (98 - steps)
        assert item["valid"].tolist() == [1] * (steps - 1) + [0] * (98 - steps + 1)


def test_episodes_of_one_step_are_named(latents, tmp_path):
    arrays = checkpoint.read_npz(latents, ("latents", "logsigmas", "actions", "rewards", "terminals"))
    offsets = np.arange(len(arrays["rewards"]))
    checkpoint.write_npz(tmp_path / "l.npz", {**arrays, "offsets": offsets})
    with pytest.raises(UserError, match=r"mdrnn: expected episodes of at least 2 steps, found none in .*l\.npz"):
        LatentSequenceDataset(tmp_path / "l.npz", 32)


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
def test_rollouts_that_others_wrote_are_read(tmp_path, change):
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


class Evil:
    """Unpickled, it ends the tests."""

    def __reduce__(self):
        return (exit, (99,))


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
def test_broken_rollouts_are_named(tmp_path, change, message):
    arrays = numbered(0, 10)
    change(arrays)
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=rf"x\.npz: .*{message}"):
        read_rollout(tmp_path / "x.npz")


def test_truncated_and_missing_rollouts_are_named(tmp_path, files):
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
