"""Saved states are recognized by their identity and length, and none is lost."""

import os

from worldmodels.storage.checkpoints import save_checkpoint
from worldmodels.storage.states import keep_other_state, load_state


def test_states_of_another_identity_are_kept_and_damaged_ones_set_aside(tmp_path):
    path, output = tmp_path / "checkpoint.tar", []
    assert load_state(path, "mine", output.append) is None and not output
    save_checkpoint(path, {"identity": "mine", "x": 1})
    assert load_state(path, "mine", output.append)["x"] == 1 and not output
    assert load_state(path, "other", output.append) is None
    assert "belongs to another configuration, code or data; kept as" in output[0] and not path.exists()
    save_checkpoint(path, {"identity": "other", "x": 2})
    assert load_state(path, "mine", output.append)["x"] == 1
    assert load_state(path, "mine", output.append)["x"] == 1
    assert load_state(path, "other", output.append)["x"] == 2
    output.clear()
    path.write_bytes(b"damaged")
    assert load_state(path, "new", output.append) is None
    assert len(output) == 1 and "set aside as" in output[0]
    assert (tmp_path / "checkpoint.tar.damaged").read_bytes() == b"damaged"


def test_states_of_every_length_and_identity_are_kept_and_resumed(tmp_path):
    path, messages = tmp_path / "checkpoint.tar", []

    def resume(identity: str, limit: int) -> int | None:
        state = load_state(path, identity, messages.append, lambda state: state["epochs"], limit)
        return state and state["epochs"]

    def train(identity: str, limit: int) -> int | None:
        begin = resume(identity, limit)
        if begin != limit:
            save_checkpoint(path, {"identity": identity, "epochs": limit})
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


def test_start_without_reload_keeps_the_state_of_another_identity(tmp_path):
    path = tmp_path / "checkpoint.tar"
    save_checkpoint(path, {"identity": "other"})
    assert keep_other_state(path, "mine", print) is None and not path.exists()
    assert load_state(path, "other", print) is not None
