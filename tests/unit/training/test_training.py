"""Early stopping, files that are whole or absent, and saved states that are recognised."""

import os

import numpy as np
import pytest
import torch

from worldmodels import checkpoint
from worldmodels.settings import UserError
from worldmodels.training import EarlyStopping


def run(stopping: EarlyStopping, values) -> list[bool]:
    result = []
    for value in values:
        stopping.step(value)
        result.append(stopping.stop)
    return result


def test_early_stopping():
    assert run(EarlyStopping("min", 2), [3, 2, 2.5, 2.4]) == [False, False, False, True]
    assert run(EarlyStopping("max", 2), [3, 4, 3, 5, 4, 4]) == [False] * 5 + [True]
    assert run(EarlyStopping("min", 1, threshold=0.1, threshold_mode="rel"), [10, 9.5]) == [False, True]
    assert run(EarlyStopping("min", 1, threshold=0.1, threshold_mode="abs"), [10, 9.5]) == [False, False]
    assert run(EarlyStopping("min", 1), [float("nan")]) == [True]
    assert run(EarlyStopping("min", 1), [-1.0, -2.0, -1.5]) == [False, False, True]


def test_early_stopping_state():
    one, other = EarlyStopping("min", 3), EarlyStopping("min", 3)
    run(one, [3, 4, 5])
    other.load_state_dict(one.state_dict())
    assert run(other, [6]) == [True]


def test_early_stopping_refuses_unknown_modes():
    with pytest.raises(ValueError, match="mode: expected min or max, found 'up'"):
        EarlyStopping("up")
    with pytest.raises(ValueError, match="threshold_mode: expected rel or abs, found 'x'"):
        EarlyStopping("min", threshold_mode="x")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "f"
    checkpoint.write_atomically(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="f: cannot be written: No space left on device"):
        checkpoint.write_atomically(path, fail)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("compress", [False, True])
def test_npz_bytes_depend_on_nothing_but_the_arrays(tmp_path, compress):
    arrays = {"a": np.arange(5), "b": np.ones((2, 3), np.float32)}
    checkpoint.write_npz(tmp_path / "1.npz", arrays, compress)
    checkpoint.write_npz(tmp_path / "2.npz", arrays, compress)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    with np.load(tmp_path / "1.npz") as archive:
        assert all(np.array_equal(archive[key], arrays[key]) for key in arrays)


class Evil:
    """Unpickled, it ends the tests."""

    def __reduce__(self):
        return (exit, (99,))


def test_checkpoints_are_never_unpickled(tmp_path):
    torch.save({"state_dict": Evil()}, tmp_path / "evil.tar")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "evil.tar").read_bytes()[:100])
    for name in ("evil", "cut"):
        with pytest.raises(UserError, match=rf"{name}\.tar: expected a checkpoint of tensors and plain values"):
            checkpoint.load(tmp_path / f"{name}.tar")
    with pytest.raises(UserError, match="expected a checkpoint, found no file"):
        checkpoint.load(tmp_path / "none.tar")
    checkpoint.save(tmp_path / "x.tar", {"a": 1})
    with pytest.raises(UserError, match="expected a checkpoint with a, b, found none of b"):
        checkpoint.load(tmp_path / "x.tar", ("a", "b"))


def test_states_of_another_identity_are_kept_and_damaged_ones_set_aside(tmp_path):
    path, said = tmp_path / "checkpoint.tar", []
    assert checkpoint.load_state(path, "mine", said.append) is None and not said
    checkpoint.save(path, {"identity": "mine", "x": 1})
    assert checkpoint.load_state(path, "mine", said.append)["x"] == 1 and not said
    assert checkpoint.load_state(path, "other", said.append) is None
    assert "belongs to another configuration, code or data; kept as" in said[0] and not path.exists()
    checkpoint.save(path, {"identity": "other", "x": 2})
    assert checkpoint.load_state(path, "mine", said.append)["x"] == 1
    assert checkpoint.load_state(path, "mine", said.append)["x"] == 1
    assert checkpoint.load_state(path, "other", said.append)["x"] == 2
    said.clear()
    path.write_bytes(b"damaged")
    assert checkpoint.load_state(path, "new", said.append) is None
    assert len(said) == 1 and "set aside as" in said[0]
    assert (tmp_path / "checkpoint.tar.damaged").read_bytes() == b"damaged"


def test_states_of_all_lengths_and_identities_are_kept_and_taken_up_again(tmp_path):
    path, messages = tmp_path / "checkpoint.tar", []

    def resume(identity: str, limit: int) -> int | None:
        state = checkpoint.load_state(path, identity, messages.append, lambda state: state["epochs"], limit)
        return state and state["epochs"]

    def train(identity: str, limit: int) -> int | None:
        begin = resume(identity, limit)
        if begin != limit:
            checkpoint.save(path, {"identity": identity, "epochs": limit})
        return begin

    assert train("mine", 6) is None
    assert train("mine", 2) is None and "has more epochs than are wanted now; kept as" in messages[-1]
    assert train("other", 6) is None and train("other", 3) is None and train("other", 4) == 3
    assert train("mine", 6) == 6 and "6 epochs were trained before; taken up from" in messages[-1]
    assert train("mine", 2) == 2, "the shorter state is kept, too"
    assert train("mine", 5) == 2, "training goes on from the longest state that is short enough"
    assert train("mine", 9) == 6
    assert train("other", 6) == 6 and train("other", 4) == 4
    names = {"checkpoint.tar", "checkpoint.mine.tar", "checkpoint.mine.5-epochs.tar", "checkpoint.other.6-epochs.tar"}
    assert names == set(os.listdir(tmp_path))


def test_a_start_without_the_saved_state_keeps_that_of_another_identity(tmp_path):
    path = tmp_path / "checkpoint.tar"
    checkpoint.save(path, {"identity": "other"})
    assert checkpoint.keep_other_state(path, "mine", print) is None and not path.exists()
    assert checkpoint.load_state(path, "other", print) is not None


def test_best_json_tells_of_best_tar(tmp_path):
    checkpoint.write_best(tmp_path, {"state_dict": {"w": torch.ones(2)}, "epoch": 3, "config": {}}, [{"loss": 1.0}])
    import json

    summary = json.loads((tmp_path / "best.json").read_text())
    assert summary == {"sha256": checkpoint.digest(tmp_path / "best.tar"), "epoch": 3, "history": [{"loss": 1.0}]}
