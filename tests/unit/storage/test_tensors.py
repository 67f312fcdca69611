"""Checkpoints come back from .safetensors bit for bit."""

import pytest
import torch

from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import load_checkpoint
from worldmodels.storage.tensors import from_safetensors, to_safetensors

CONTENT = {
    "state_dict": {"rnn.weight": torch.randn(3, 4), "bias": torch.arange(3)},
    "first_latents": {"mu": torch.randn(2, 2).T, "logsigma": torch.zeros(2, dtype=torch.bfloat16)},
    "precision": 0.1 + 0.2,
    "env_steps": {"rollouts": 3, "controller": 4},
    "config": {"hidden": [40], "model": "ConvVAE", "extra": {}, "target": None},
}


def same(one, other) -> bool:
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return one.dtype == other.dtype and torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_checkpoint_comes_back_bit_for_bit():
    data = to_safetensors(CONTENT)
    loaded = from_safetensors(data)
    ordered = {key: loaded[key] for key in CONTENT}
    assert same(ordered, CONTENT) and len(loaded) == len(CONTENT)
    assert to_safetensors(ordered) == data


def test_tensors_of_another_program_are_the_state_dict(tmp_path):
    from safetensors.torch import save_file

    save_file(CONTENT["state_dict"], tmp_path / "x.safetensors")
    assert set(load_checkpoint(tmp_path / "x.safetensors")["state_dict"]) == {"rnn.weight", "bias"}


@pytest.mark.parametrize("data", [b"", b"hello, hello", to_safetensors(CONTENT)[:-5]])
def test_a_damaged_file_raises(data, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(
        UserError, match=r"x\.safetensors: expected a checkpoint of tensors and plain values, found a dam"
    ):
        load_checkpoint(tmp_path / "x.safetensors")
