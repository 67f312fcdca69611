"""V: shapes, the loss against torch.distributions, and the shortcut in the decoder."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.distributions import Normal, kl_divergence

from worldmodels import checkpoint
from worldmodels.config import WMVAEConfig
from worldmodels.settings import UserError
from worldmodels.training import Training
from worldmodels.vae import ConvVAE, conv_vae_loss_fn, encode, has_bfloat16, load_vae, to_images
from worldmodels.vae_training import train_vae


@pytest.mark.parametrize("channels, latent_size, batch", [(3, 32, 4), (1, 8, 1), (3, 1, 2)])
def test_shapes_and_ranges(channels, latent_size, batch):
    x = torch.rand(batch, channels, 64, 64)
    reconst, mu, logsigma = ConvVAE(channels, latent_size)(x)
    assert reconst.shape == x.shape
    assert mu.shape == logsigma.shape == (batch, latent_size)
    assert reconst.min() >= 0 and reconst.max() <= 1


def test_parameter_names_are_those_of_published_checkpoints():
    layers = [f"encoder.conv{i}" for i in range(1, 5)] + ["encoder.fc_mu", "encoder.fc_logsigma", "decoder.fc"]
    layers += [f"decoder.deconv{i}" for i in range(1, 5)]
    assert set(ConvVAE(3, 32).state_dict()) == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert sum(p.numel() for p in ConvVAE(3, 32).parameters()) == 4_348_547  # as in the paper


def test_first_deconvolution_is_what_torch_computes():
    torch.manual_seed(0)
    vae = ConvVAE(3, 32)
    z = torch.randn(5, 32)
    d = vae.decoder
    x = torch.relu(d.deconv1(torch.relu(d.fc(z)).view(5, 1024, 1, 1)))
    plain = torch.sigmoid(d.deconv4(torch.relu(d.deconv3(torch.relu(d.deconv2(x))))))
    torch.testing.assert_close(d(z), plain, atol=1e-5, rtol=1e-5)


SIZES = {(64, 64): (2, 2), (32, 32): (2, 2), (32, 64): (2, 6), (80, 64): (3, 2)}


@pytest.mark.parametrize("shape, last", SIZES.items())
def test_the_encoder_is_what_torch_computes(shape, last):
    """The last convolution is a matrix product where its map is small."""
    torch.manual_seed(0)
    encoder = ConvVAE(3, 32, *shape).encoder
    assert encoder.map == last
    images = torch.rand(5, 3, *shape)
    x = images
    for conv in encoder.convs:
        x = torch.relu(conv(x))
    plain = encoder.fc_mu(x.flatten(1)), encoder.fc_logsigma(x.flatten(1))
    for one, other in zip(encoder(images), plain):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    weight = encoder.convs[-1].weight
    ours, expected = (torch.autograd.grad(mu.square().sum(), weight)[0] for mu in (encoder(images)[0], plain[0]))
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient():
    vae = ConvVAE(3, 32)
    x = torch.rand(2, 3, 64, 64)
    conv_vae_loss_fn(*_order(vae(x), x)).backward()
    for name, p in vae.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def _order(outputs, x):
    reconst, mu, logsigma = outputs
    return reconst, x, mu, logsigma


def test_loss_against_independent_formulas():
    torch.manual_seed(0)
    x, reconst = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    mu, logsigma = torch.randn(2, 32), torch.randn(2, 32)
    kl = kl_divergence(Normal(mu, logsigma.exp()), Normal(0.0, 1.0)).sum()
    mse = ((x - reconst) ** 2).sum()
    torch.testing.assert_close(conv_vae_loss_fn(reconst, x, mu, logsigma), mse + kl)
    torch.testing.assert_close(conv_vae_loss_fn(reconst, x, mu, logsigma, beta=0.1), mse + 0.1 * kl)
    zero = torch.zeros(2, 32)
    assert conv_vae_loss_fn(x, x, zero, zero).item() == 0.0


def test_to_images_keeps_pixels():
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    images = to_images(frames)
    assert torch.equal(images[1, 2, 5, 7], frames[1, 5, 7, 2].float() / 255)


@pytest.mark.parametrize("batch", [1, 8, 9, 16])
@pytest.mark.parametrize("mixed", [False, True])
@torch.no_grad()
def test_the_precision_depends_on_the_device_and_not_on_the_batch(batch, mixed, monkeypatch):
    monkeypatch.setattr("worldmodels.vae.has_bfloat16", lambda device: mixed)
    torch.manual_seed(0)
    vae = ConvVAE(3, 32).eval()
    frames = torch.randint(0, 256, (batch, 64, 64, 3), dtype=torch.uint8)
    whole = vae.encoder(to_images(frames))
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        expected = vae.encoder(to_images(frames))
    for part, same, exact in zip(encode(vae, frames), expected, whole):
        assert part.dtype == torch.float32 and torch.equal(part, same.float())
        torch.testing.assert_close(part, exact, atol=4e-3, rtol=0)
        assert torch.equal(part, exact) == (not mixed)


@torch.no_grad()
def test_weights_that_changed_are_cast_anew(monkeypatch):
    monkeypatch.setattr("worldmodels.vae.has_bfloat16", lambda device: True)
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    vae, fresh = ConvVAE(3, 4).eval(), ConvVAE(3, 4).eval()
    before, _ = encode(vae, frames)
    vae.load_state_dict(fresh.state_dict())
    after, _ = encode(vae, frames)
    assert not torch.equal(before, after) and torch.equal(after, encode(fresh, frames)[0])
    vae.encoder.fc_mu.bias.add_(1.0)
    assert encode(vae, frames)[0].sub(after).mean() > 0.9
    assert set(vae.state_dict()) == set(fresh.state_dict())


class Normed(nn.Module):
    """An encoder that fails in bfloat16 without autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(64 * 64 * 3, 8)

    def forward(self, x):
        assert x.dtype == self.both.weight.dtype == torch.float32
        return self.both(x.flatten(1)).chunk(2, -1)


def test_an_encoder_of_ones_own_is_run_by_autocast(monkeypatch):
    monkeypatch.setattr("worldmodels.vae.has_bfloat16", lambda device: True)
    vae = ConvVAE(3, 4)
    vae.encoder = Normed()
    mu, _ = encode(vae, torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8))
    assert torch.equal(mu, mu.bfloat16().float())


@pytest.mark.parametrize(
    "capability, hardware", [((7, 0), False), ((7, 5), False), ((8, 0), True), ((8, 6), True), ((9, 0), True)]
)
def test_gpus_before_ampere_have_no_bfloat16(capability, hardware, monkeypatch):
    """torch says that they have, since it emulates bfloat16 on them; and it may speak of another GPU."""
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability if device.index == 1 else (6, 0))
    assert has_bfloat16(torch.device("cuda:1")) is hardware
    assert not has_bfloat16(torch.device("cuda:0"))


@pytest.mark.parametrize(
    "name, hardware",
    [("gfx906", False), ("gfx908", True), ("gfx90a:sramecc+:xnack-", True), ("gfx942", True), ("gfx950", True),
     ("gfx1030", False), ("gfx1100", True), ("gfx1201", True)],
)  # fmt: skip
def test_gpus_of_amd_are_told_by_their_architecture(name, hardware, monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(gcnArchName=name))
    assert has_bfloat16(torch.device("cuda:0")) is hardware


def test_other_devices_have_no_bfloat16():
    assert not has_bfloat16(torch.device("mps"))


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


def test_training_continued_equals_training_in_one_go(tmp_path, rollouts):
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
    monkeypatch.setattr(Training, "run_epoch", None)
    for epochs, expected in ((2, whole), (1, shorter), (2, whole)):
        checkpoint.write_best(tmp_path / "expected", **expected)
        checkpoint.write_best(tmp_path / "result", **train(tmp_path / "budgets", rollouts, epochs))
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


def test_a_loss_that_is_not_a_number_ends_training_and_keeps_the_state(tmp_path, rollouts):
    train(tmp_path, rollouts, 1)
    broken = torch.load(tmp_path / "vae/checkpoint.tar", weights_only=True)
    broken["model"]["decoder.fc.bias"][:] = float("nan")
    torch.save(broken, tmp_path / "vae/checkpoint.tar")
    before = (tmp_path / "vae/checkpoint.tar").read_bytes()
    with pytest.raises(UserError, match=r"the loss became .* in epoch 2.*Try a smaller learning_rate"):
        train(tmp_path, rollouts, 2)
    assert (tmp_path / "vae/checkpoint.tar").read_bytes() == before


def test_load_vae_refuses_other_networks(tmp_path):
    torch.save({"state_dict": {}, "config": {"img_channels": 3, "latent_size": 4}}, tmp_path / "best.tar")
    with pytest.raises(UserError, match=r"best\.tar: expected V's checkpoint, found another"):
        load_vae(tmp_path / "best.tar")


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


def test_training_starts_at_the_mean_colour():
    torch.manual_seed(0)
    vae, colour = ConvVAE(3, 8), torch.tensor([0.9, 0.5, 0.1])
    vae.start_at(colour)
    shown = vae.decoder(torch.randn(8, 8)).mean(dim=(0, 2, 3))
    torch.testing.assert_close(shown, colour, atol=0.02, rtol=0)


def test_a_small_thing_on_white_is_learnt(tmp_path):
    """What classic control looks like; from a grey start the decoder saturates at white, and stays there."""
    frames = np.full((3, 200, 32, 32, 3), 255, np.uint8)
    for i, (x, y) in enumerate(np.random.default_rng(0).integers(0, 26, (600, 2))):
        frames[i // 200, i % 200, y : y + 6, x : x + 6] = 0
    history = train(tmp_path, write_frames(tmp_path, frames), 8, images_per_epoch=0, latent_size=8)["history"]
    assert history[-1]["mse"] < 0.7 * frames.astype(float).var(axis=(0, 1)).sum() / 255**2


def test_a_v_that_sees_nothing_is_told(tmp_path, caplog):
    """There is nothing to see in pictures that are all the same."""
    frames = np.full((3, 32, 32, 32, 3), 255, np.uint8)
    train(tmp_path, write_frames(tmp_path, frames), 2, images_per_epoch=0, latent_size=2, beta=100.0)
    assert "vae: z tells nothing of the pictures" in caplog.text and "try a smaller vae.beta" in caplog.text
