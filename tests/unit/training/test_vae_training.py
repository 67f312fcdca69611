"""V's training learns, continues as one long run, and streams what does not fit the memory."""

import numpy as np
import pytest
import torch
from PIL import Image

from worldmodels.runtime.config import WMVAEConfig
from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import write_best
from worldmodels.training.loop import TrainingLoop
from worldmodels.training.vae import train_vae


def train(tmp_path, rollouts, epochs, memory_gb=8.0, identity="same", **changes):
    values = dict(images_per_epoch=96, train_batch_size=32, num_test_files=1, sample_interval=1, memory_gb=memory_gb)
    config = WMVAEConfig(num_epochs=epochs, logdir=str(tmp_path), **(values | changes))
    return train_vae(rollouts, config, seed=1, identity=identity, device=torch.device("cpu"))


def test_training_learns_and_writes_pictures(tmp_path, rollouts):
    result = train(tmp_path, rollouts, 3, images_per_epoch=0)
    losses = [row["loss"] for row in result["history"]]
    assert losses[-1] < 0.8 * losses[0]
    assert result["best"]["precision"] == min(losses)
    pictures = sorted(path.name for path in (tmp_path / "vae/samples").glob("*.png"))
    assert pictures == [f"{kind}_{e:04d}.png" for kind in ("reconstruction", "sample") for e in (1, 2, 3)]


def test_resumed_training_equals_training_in_one_go(tmp_path, rollouts):
    whole = train(tmp_path / "whole", rollouts, 3)
    train(tmp_path / "parts", rollouts, 1)
    parts = train(tmp_path / "parts", rollouts, 3)
    assert whole["history"] == parts["history"]
    for name, weight in whole["best"]["state_dict"].items():
        assert torch.equal(weight, parts["best"]["state_dict"][name])


def test_a_lower_budget_and_then_the_old_one_trains_nothing_anew(tmp_path, rollouts, monkeypatch):
    shorter = train(tmp_path / "shorter", rollouts, 1)
    whole = train(tmp_path / "budgets", rollouts, 2)
    again = train(tmp_path / "budgets", rollouts, 1)
    assert shorter["history"] == again["history"]
    monkeypatch.setattr(TrainingLoop, "run_epoch", None)
    for epochs, expected in ((2, whole), (1, shorter), (2, whole)):
        write_best(tmp_path / "expected", **expected)
        write_best(tmp_path / "result", **train(tmp_path / "budgets", rollouts, epochs))
        for name in ("best.tar", "best.json"):
            assert (tmp_path / "result" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


def test_noreload_keeps_the_state_of_another_identity(tmp_path, rollouts):
    train(tmp_path, rollouts, 1)
    before = (tmp_path / "vae/checkpoint.tar").read_bytes()
    train(tmp_path, rollouts, 1, identity="other", noreload=True)
    assert (tmp_path / "vae/checkpoint.same.tar").read_bytes() == before


def test_training_streams_what_does_not_fit_the_memory(tmp_path, rollouts):
    result = train(tmp_path, rollouts, 2, memory_gb=1e-3, images_per_epoch=0)
    assert result["history"][-1]["images"] == 5 * 60


def test_all_files_train_without_test_files(tmp_path, rollouts):
    result = train(tmp_path, rollouts, 1, num_test_files=0, images_per_epoch=0)
    assert result["history"][-1]["images"] == 6 * 60


def test_nonfinite_loss_raises_and_keeps_the_state(tmp_path, rollouts):
    train(tmp_path, rollouts, 1)
    broken = torch.load(tmp_path / "vae/checkpoint.tar", weights_only=True)
    broken["model"]["decoder.fc.bias"][:] = float("nan")
    torch.save(broken, tmp_path / "vae/checkpoint.tar")
    before = (tmp_path / "vae/checkpoint.tar").read_bytes()
    with pytest.raises(UserError, match=r"the loss became .* in epoch 2.*Try a smaller learning_rate"):
        train(tmp_path, rollouts, 2)
    assert (tmp_path / "vae/checkpoint.tar").read_bytes() == before


def write_frames(folder, frames: np.ndarray) -> list[str]:
    """Frames (E,T,H,W,C) as rollouts in which nothing else happens."""
    for i, observations in enumerate(frames):
        zeros = np.zeros(len(observations), np.float32)
        arrays = {"actions": zeros[:, None], "rewards": zeros, "terminals": zeros}
        np.savez(folder / f"{i}.npz", observations=observations, **arrays)
    return sorted(map(str, folder.glob("*.npz")))


def test_latent_size_one_trains_on_grey_images(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (3, 20, 64, 64, 1), dtype=np.uint8)
    best = train(tmp_path, write_frames(tmp_path, frames), 1, latent_size=1)["best"]
    assert best["config"]["img_channels"] == 1 and best["config"]["latent_size"] == 1


@pytest.mark.parametrize("held_out, shown", [(1, 3), (2, 6), (0, 8)])
def test_fewer_held_out_frames_than_a_row_of_pictures(tmp_path, held_out, shown):
    """Of three episodes of three frames; without held-out files the training files are shown."""
    files = write_frames(tmp_path, np.random.default_rng(0).integers(0, 255, (3, 3, 64, 64, 3), dtype=np.uint8))
    result = train(tmp_path, files, 1, num_test_files=held_out)
    assert result["history"][0]["images"] == 3 * (3 - held_out)
    for name, size in (("reconstruction", (shown * 64, 2 * 64)), ("sample", (8 * 64, 4 * 64))):
        assert Image.open(tmp_path / f"vae/samples/{name}_0001.png").size == size


def test_small_object_on_white_is_learned(tmp_path):
    """What classic control looks like; from a grey start the decoder saturates at white, and stays there."""
    frames = np.full((3, 200, 32, 32, 3), 255, np.uint8)
    for i, (x, y) in enumerate(np.random.default_rng(0).integers(0, 26, (600, 2))):
        frames[i // 200, i % 200, y : y + 6, x : x + 6] = 0
    history = train(tmp_path, write_frames(tmp_path, frames), 8, images_per_epoch=0, latent_size=8)["history"]
    assert history[-1]["mse"] < 0.7 * frames.astype(float).var(axis=(0, 1)).sum() / 255**2


def test_latents_without_information_are_warned_of(tmp_path, caplog):
    """There is nothing to see in pictures that are all the same."""
    frames = np.full((3, 32, 32, 32, 3), 255, np.uint8)
    train(tmp_path, write_frames(tmp_path, frames), 2, images_per_epoch=0, latent_size=2, beta=100.0)
    assert "vae: z tells nothing of the pictures" in caplog.text and "try a smaller vae.beta" in caplog.text
