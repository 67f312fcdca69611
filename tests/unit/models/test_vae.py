"""V has the right shapes, and its loss is that of torch.distributions."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from worldmodels.models.encoding import encode
from worldmodels.models.load_vae import load_vae
from worldmodels.models.precision import has_bfloat16
from worldmodels.models.vae import ConvVAE, conv_vae_loss_fn, to_images
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.loading import load_config


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
    for first, second in zip(encoder(images), plain):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
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
    monkeypatch.setattr("worldmodels.models.encoding.has_bfloat16", lambda device: mixed)
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
    monkeypatch.setattr("worldmodels.models.encoding.has_bfloat16", lambda device: True)
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
    monkeypatch.setattr("worldmodels.models.encoding.has_bfloat16", lambda device: True)
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


def test_load_vae_refuses_other_networks(tmp_path):
    torch.save({"state_dict": {}, "config": {"img_channels": 3, "latent_size": 4}}, tmp_path / "best.tar")
    with pytest.raises(UserError, match=r"best\.tar: expected V's checkpoint, found another"):
        load_vae(tmp_path / "best.tar")


def test_training_starts_at_the_mean_color():
    torch.manual_seed(0)
    vae, color = ConvVAE(3, 8), torch.tensor([0.9, 0.5, 0.1])
    vae.start_at(color)
    shown = vae.decoder(torch.randn(8, 8)).mean(dim=(0, 2, 3))
    torch.testing.assert_close(shown, color, atol=0.02, rtol=0)


IMAGE_SIZES = [(32, 32), (40, 56), (32, 96), (64, 64), (64, 128), (96, 96), (128, 128), (112, 80)]


@pytest.mark.parametrize("height, width", IMAGE_SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_vae_of_any_size_reconstructs_and_has_gradients(height, width, channels):
    vae, x = ConvVAE(channels, 7, height, width), torch.rand(2, channels, height, width)
    reconst, mu, logsigma = vae(x)
    assert reconst.shape == x.shape and mu.shape == logsigma.shape == (2, 7)
    conv_vae_loss_fn(reconst, x, mu, logsigma).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.parameters())


@pytest.mark.parametrize(
    "height, width, named, step",
    [(31, 64, "height", 8), (72, 72, "height", 16), (64, 33, "width", 8), (16, 16, "height", 8)],
)
def test_unsupported_size_raises(height, width, named, step):
    with pytest.raises(
        UserError, match=rf"env.{named}: expected a multiple of {step}, at least {4 * step}, for ConvVAE"
    ):
        load_config({"env": {"height": height, "width": width}})
    assert load_config({"env": {"height": height, "width": width}, "vae": {"model": "mine:Mine"}}).env.height == height


def test_every_accepted_size_works():
    for size in range(1, 200):
        try:
            load_config({"env": {"height": size, "width": size}})
        except UserError:
            continue
        assert ConvVAE(1, 2, size, size)(torch.rand(1, 1, size, size))[0].shape[2:] == (size, size)


def test_frames_of_another_size_raise():
    frames = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    with pytest.raises(UserError, match=r"env.height.*expected frames shaped \(64, 64, 3\).*found \(32, 32, 3\)"):
        encode(ConvVAE(3, 4), frames)
