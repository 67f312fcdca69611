"""Checkpoints hold tensors and plain values, and their summaries have their digests."""

import pytest
import torch

from helpers.files import Evil
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import load_checkpoint, save_checkpoint, write_best


def test_checkpoints_are_never_unpickled(tmp_path):
    torch.save({"state_dict": Evil()}, tmp_path / "evil.tar")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "evil.tar").read_bytes()[:100])
    for name in ("evil", "cut"):
        with pytest.raises(UserError, match=rf"{name}\.tar: expected a checkpoint of tensors and plain values"):
            load_checkpoint(tmp_path / f"{name}.tar")
    with pytest.raises(UserError, match="expected a checkpoint, found no file"):
        load_checkpoint(tmp_path / "none.tar")
    save_checkpoint(tmp_path / "x.tar", {"a": 1})
    with pytest.raises(UserError, match="expected a checkpoint with a, b, found none of b"):
        load_checkpoint(tmp_path / "x.tar", ("a", "b"))


def test_best_json_holds_the_digest_and_history_of_best_tar(tmp_path):
    write_best(tmp_path, {"state_dict": {"w": torch.ones(2)}, "epoch": 3, "config": {}}, [{"loss": 1.0}])
    import json

    summary = json.loads((tmp_path / "best.json").read_text())
    assert summary == {"sha256": file_digest(tmp_path / "best.tar"), "epoch": 3, "history": [{"loss": 1.0}]}
