"""Latents are the frames through V, and an interrupted encoding continues."""

import os
import signal

import numpy as np
import pytest
import torch

from worldmodels.data import latents as latents_module
from worldmodels.data.latents import precompute_latents
from worldmodels.data.sequences import SequenceDataset
from worldmodels.models.encoding import encode
from worldmodels.models.precision import has_bfloat16
from worldmodels.models.vae import ConvVAE
from worldmodels.runtime import interrupts


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


def test_interrupted_encoding_resumes(rollouts, tmp_path, monkeypatch):
    torch.manual_seed(0)
    vae, output = ConvVAE(3, 8).eval(), []
    whole = precompute_latents(vae, rollouts, tmp_path / "whole.npz")
    monkeypatch.setattr(latents_module, "encode", lambda *args: (output.append(1), encode(*args))[1])
    previous = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(interrupts, "_received", None)  # and None again after the test
    interrupts.listen()
    stop_after(3, monkeypatch)
    with pytest.raises(interrupts.Interrupted):
        precompute_latents(vae, rollouts, tmp_path / "x/parts.npz", identity="same")
    assert len(output) == 3 and not (tmp_path / "x/parts.npz").exists()
    monkeypatch.setattr(interrupts, "_received", None)
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), previous):
        signal.signal(number, handler)
    parts = precompute_latents(vae, rollouts, tmp_path / "x/parts.npz", identity="same")
    assert len(output) == 6 and [path.name for path in (tmp_path / "x").iterdir()] == ["parts.npz"]
    assert all(np.array_equal(parts[key], whole[key]) for key in whole)


def stop_after(count: int, monkeypatch) -> None:
    """Send SIGTERM once so many frames' batches were encoded."""
    process = []
    plain = latents_module.encode

    def counted(*args):
        process.append(1)
        if len(process) == count:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(*args)

    monkeypatch.setattr(latents_module, "encode", counted)
