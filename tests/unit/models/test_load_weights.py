"""V and M start at published checkpoints that have the specification's parameter names."""

import collections

import pytest
import torch

from worldmodels.models.load_weights import load_weights
from worldmodels.models.mdrnn import MDRNN
from worldmodels.models.vae import ConvVAE
from worldmodels.runtime.errors import UserError


def trained(network: torch.nn.Module, kind=torch.optim.Adam) -> tuple[torch.optim.Optimizer, object]:
    """Return an optimizer and a scheduler with a state, after a step."""
    optimizer = kind(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", factor=0.5, patience=5)
    scheduler.step(1.0)
    return optimizer, scheduler


def published(path, network: torch.nn.Module, rename=lambda name: name, **changes) -> str:
    """Write a checkpoint as other implementations do, with all that they keep beside the weights."""
    optimizer, scheduler = trained(network)
    weights = collections.OrderedDict((rename(name), tensor) for name, tensor in network.state_dict().items())
    content = {
        "epoch": 3, "state_dict": weights, "precision": 12.5, "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(), "earlystopping": {"num_bad_epochs": 0, "best": 12.5},
    }  # fmt: skip
    torch.save(content | changes, path)
    return str(path)


NETWORKS = {"vae.start": lambda: ConvVAE(3, 8), "mdrnn.start": lambda: MDRNN(8, 3, 16, 5)}


@pytest.mark.parametrize("key", NETWORKS)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_weights_are_taken_and_all_else_is_ignored(key, prefix, tmp_path):
    theirs, ours = NETWORKS[key](), NETWORKS[key]()
    load_weights(ours, published(tmp_path / "best.tar", theirs, lambda name: prefix + name), key)
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())


def test_a_state_dict_alone_and_the_decoder_of_another_implementation(tmp_path):
    theirs, ours = ConvVAE(3, 8), ConvVAE(3, 8)
    weights = {name.replace("decoder.fc.", "decoder.fc1."): tensor for name, tensor in theirs.state_dict().items()}
    torch.save(weights, tmp_path / "vae.pt")
    load_weights(ours, str(tmp_path / "vae.pt"), "vae.start")
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(ours.encoder(images)[0], theirs.encoder(images)[0])


@pytest.mark.parametrize(
    "network, other, message",
    [
        ("vae.start", lambda: ConvVAE(3, 16), r"expected encoder\.fc_mu\.weight shaped \(8, 1024\).*found \(16,"),
        ("vae.start", lambda: ConvVAE(1, 8), r"expected encoder\.conv1\.weight shaped \(32, 3, 4, 4\).*found \(32,"),
        ("mdrnn.start", lambda: MDRNN(8, 3, 32, 5), r"expected rnn\.weight_ih_l0 shaped|expected gmm_linear\.weig"),
        ("mdrnn.start", lambda: ConvVAE(3, 8), r"expected the parameter .*, found none in"),
        ("mdrnn.start", lambda: MDRNN(8, 3, 16, 5, "lstm", 2), r"expected no parameter but the network's, found rnn"),
    ],
)  # fmt: skip
def test_other_sizes_and_networks_end_with_one_line(network, other, message, tmp_path):
    with pytest.raises(UserError, match=rf"^{network}: (?:{message})"):
        load_weights(NETWORKS[network](), published(tmp_path / "best.tar", other()), network)


@pytest.mark.parametrize("content", [{"epoch": 3}, {"state_dict": {}}, {"state_dict": {"a": 1}}, [1], torch.ones(2)])
def test_what_is_no_state_dict_is_told(content, tmp_path):
    torch.save(content, tmp_path / "x.tar")
    with pytest.raises(
        UserError, match=r"vae\.start: expected a checkpoint with a state_dict of tensors, found none in"
    ):
        load_weights(ConvVAE(3, 8), str(tmp_path / "x.tar"), "vae.start")


def test_weights_that_are_no_numbers(tmp_path):
    broken = ConvVAE(3, 8)
    path = published(tmp_path / "x.tar", broken)
    broken.encoder.fc_mu.bias.data.fill_(float("nan"))
    torch.save({"state_dict": broken.state_dict()}, path)
    with pytest.raises(UserError, match=r"expected finite weights, found NaN or infinity in encoder\.fc_mu\.bias"):
        load_weights(ConvVAE(3, 8), path, "vae.start")
