"""M: shapes, the mixture's likelihood against torch.distributions, weight transfer, and learning."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from worldmodels import checkpoint
from worldmodels.config import WMMDNRNNConfig
from worldmodels.mdrnn import MDRNN, MDRNNCell, get_loss, gmm_loss, mean_losses, to_cell
from worldmodels.mdrnn_training import batch_functions, train_mdrnn
from worldmodels.sequences import LatentSequenceDataset

SIZES = (32, 3, 64, 5)
CPU = torch.device("cpu")


def mixture(*shape):
    mus, sigmas = torch.randn(*shape, 5, 32), torch.rand(*shape, 5, 32) + 0.2
    return mus, sigmas, F.log_softmax(torch.randn(*shape, 5), -1)


@pytest.mark.parametrize("steps, batch", [(7, 3), (1, 1)])
def test_shapes(steps, batch):
    mus, sigmas, logpi, rs, ds = MDRNN(*SIZES)(torch.randn(steps, batch, 3), torch.randn(steps, batch, 32))
    assert mus.shape == sigmas.shape == (steps, batch, 5, 32)
    assert logpi.shape == (steps, batch, 5)
    assert rs.shape == ds.shape == (steps, batch)
    assert (sigmas > 0).all()
    torch.testing.assert_close(logpi.exp().sum(-1), torch.ones(steps, batch))


def test_output_layer_has_the_specified_size_and_names():
    weights = MDRNN(32, 3, 256, 5).state_dict()
    assert weights["gmm_linear.weight"].shape == ((2 * 32 + 1) * 5 + 2, 256)
    assert {name.split(".")[0] for name in weights} == {"rnn", "gmm_linear"}
    assert "rnn.weight_ih" in MDRNNCell(32, 3, 256, 5).state_dict()


@pytest.mark.parametrize("actions", [3, 4])
@pytest.mark.parametrize("cell, layers", [("lstm", 1), ("lstm", 2), ("gru", 1)])
def test_the_network_is_what_torch_computes(cell, layers, actions):
    """An LSTM of an odd number of inputs is given another one."""
    torch.manual_seed(0)
    m = MDRNN(32, actions, 64, 5, cell, layers)
    given = torch.randn(7, 3, actions), torch.randn(7, 3, 32)
    plain = m.head(m.rnn(torch.cat(given, -1))[0])
    for one, other in zip(m(*given), plain):
        torch.testing.assert_close(one, other)
    weights = list(m.rnn.parameters())
    ours, expected = (torch.autograd.grad(mus.square().sum(), weights) for mus in (m(*given)[0], plain[0]))
    for one, other in zip(ours, expected):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_order_of_the_outputs():
    """mus, log sigmas, logits of pi, reward, terminal: as in published checkpoints."""
    m = MDRNN(2, 1, 4, 3)
    with torch.no_grad():
        m.gmm_linear.weight.zero_()
        m.gmm_linear.bias.copy_(torch.arange(17.0) / 10)
    mus, sigmas, logpi, rs, ds = m(torch.zeros(1, 1, 1), torch.zeros(1, 1, 2))
    torch.testing.assert_close(mus.flatten(), torch.arange(6.0) / 10)
    torch.testing.assert_close(sigmas.flatten().log(), torch.arange(6.0, 12.0) / 10)
    torch.testing.assert_close(logpi.flatten(), F.log_softmax(torch.arange(12.0, 15.0) / 10, -1))
    torch.testing.assert_close(torch.stack([rs, ds]).flatten(), torch.tensor([1.5, 1.6]))


@pytest.mark.parametrize("shape", [(4, 2), (1, 1), (4, 1), (1, 4)])
def test_gmm_loss_against_torch_distributions(shape):
    torch.manual_seed(0)
    mus, sigmas, logpi = mixture(*shape)
    z = torch.randn(*shape, 32)
    reference = MixtureSameFamily(Categorical(logits=logpi), Independent(Normal(mus, sigmas), 1))
    torch.testing.assert_close(gmm_loss(z, mus, sigmas, logpi, reduce=False), -reference.log_prob(z))
    torch.testing.assert_close(gmm_loss(z, mus, sigmas, logpi), -reference.log_prob(z).mean())


def test_gmm_loss_is_stable_far_from_the_means():
    mus, sigmas, logpi = mixture(2, 2)
    assert torch.isfinite(gmm_loss(torch.full((2, 2, 32), 1e4), mus, sigmas, logpi))


def test_gmm_loss_prefers_the_truth_and_has_gradients():
    mus, sigmas, logpi_raw = torch.zeros(2, 5, 32), torch.ones(2, 5, 32), torch.zeros(2, 5, requires_grad=True)
    near = gmm_loss(torch.zeros(2, 32), mus, sigmas, F.log_softmax(logpi_raw, -1))
    far = gmm_loss(torch.ones(2, 32), mus, sigmas, F.log_softmax(logpi_raw, -1))
    assert near < far
    far.backward()
    assert logpi_raw.grad is not None


def batch(steps=6, size=2):
    torch.manual_seed(0)
    latents = torch.randn(steps + 1, size, 32)
    return {
        "latents": latents[:-1],
        "actions": torch.randn(steps, size, 3),
        "rewards": torch.randn(steps, size),
        "terminals": (torch.rand(steps, size) > 0.5).float(),
        "next_latents": latents[1:],
    }


@pytest.mark.parametrize("include_reward, scale", [(True, 34), (False, 33)])
def test_get_loss_terms_and_scale(include_reward, scale):
    m, data = MDRNN(*SIZES), batch()
    terms = get_loss(m, **data, include_reward=include_reward)
    mus, sigmas, logpi, rs, ds = m(data["actions"], data["latents"])
    torch.testing.assert_close(terms["gmm"], gmm_loss(data["next_latents"], mus, sigmas, logpi))
    p = torch.sigmoid(ds)
    bce = -(data["terminals"] * p.log() + (1 - data["terminals"]) * (1 - p).log()).mean()
    torch.testing.assert_close(terms["bce"], bce)
    mse = ((rs - data["rewards"]) ** 2).mean() if include_reward else torch.tensor(0.0)
    torch.testing.assert_close(terms["mse"], mse)
    torch.testing.assert_close(terms["loss"], (terms["gmm"] + bce + mse) / scale)


def test_steps_without_a_next_latent_do_not_count():
    m, data = MDRNN(*SIZES), batch()
    valid = torch.ones(6, 2)
    valid[5, 0] = 0
    changed = {**data, "next_latents": data["next_latents"].clone()}
    changed["next_latents"][5, 0] = 99.0
    assert torch.equal(get_loss(m, **data, valid=valid)["loss"], get_loss(m, **changed, valid=valid)["loss"])
    assert not torch.equal(get_loss(m, **data)["loss"], get_loss(m, **changed)["loss"])


def test_padding_does_not_count_and_rewards_are_scaled():
    m, data = MDRNN(*SIZES), batch()
    padding = torch.zeros(6, 2)
    padding[4:, 1] = 1
    valid = 1 - padding
    terminals = torch.where(padding == 1, 1 - data["terminals"], data["terminals"])
    changed = {**data, "rewards": data["rewards"] + 50 * padding, "terminals": terminals}
    one, other = (get_loss(m, **d, valid=valid, padding=padding) for d in (data, changed))
    assert all(torch.equal(one[key], other[key]) for key in one)
    rs = m(data["actions"], data["latents"])[3]
    expected = (rs - data["rewards"]).square()[padding == 0].mean() / 9
    torch.testing.assert_close(get_loss(m, **data, padding=padding, reward_scale=3.0)["mse"], expected)


def test_every_parameter_gets_a_gradient():
    m = MDRNN(*SIZES)
    get_loss(m, **batch())["loss"].backward()
    for name, p in m.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_training_computes_the_plain_loss_up_to_the_rounding_of_bfloat16():
    m, data = MDRNN(*SIZES), {**batch(), "valid": torch.ones(6, 2), "padding": torch.zeros(6, 2)}
    optimizer = torch.optim.SGD(m.parameters())
    losses, _ = batch_functions(m, optimizer, WMMDNRNNConfig(), CPU, None, reward_scale=1.0, rows=12.0)
    terms, expected = mean_losses(losses(data), 32, include_reward=True), get_loss(m, **data)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].float(), value, rtol=0.01, atol=0.01)


@pytest.fixture
def float32(monkeypatch):
    """Training without bfloat16, whose rounding would hide small differences."""
    monkeypatch.setattr("worldmodels.mdrnn_training.has_bfloat16", lambda device: False)


def test_a_row_weighs_the_same_whatever_else_is_in_its_batch(float32):
    """The step on a batch is the sum of the steps on its sequences, of which one is mostly padding."""
    data = {**batch(), "padding": torch.zeros(6, 2)}
    data["padding"][1:, 1] = 1
    data["valid"] = 1 - data["padding"]
    start, steps = MDRNN(*SIZES), []
    for part in ([0, 1], [0], [1]):
        m = MDRNN(*SIZES)
        m.load_state_dict(start.state_dict())
        config = WMMDNRNNConfig(grad_clip=1e6)
        _, learn = batch_functions(m, torch.optim.SGD(m.parameters(), lr=1.0), config, CPU, None, 1.0, rows=7.0)
        learn({key: value[:, part] for key, value in data.items()})
        vectors = (torch.nn.utils.parameters_to_vector(network.parameters()) for network in (m, start))
        steps.append(torch.sub(*vectors).detach())
    torch.testing.assert_close(steps[0], steps[1] + steps[2], rtol=1e-3, atol=1e-6)
    assert steps[2].norm() > 0.01


def hazard(path, episodes: int = 200) -> LatentSequenceDataset:
    """Latents whose first number is 3 in danger, which ends an episode of up to 250 steps with probability 0.475."""
    rng, rows, lengths = np.random.default_rng(1), [], []
    for _ in range(episodes):
        danger = rng.random(250) < 0.02
        deadly = danger & (rng.random(250) < 0.475)
        lengths.append(int(deadly.argmax()) + 1 if deadly.any() else 250)
        rows.append(np.stack([danger, deadly], axis=1)[: lengths[-1]])
    danger, deadly = np.concatenate(rows).astype(np.float32).T
    latents = np.stack([3 * danger, np.zeros_like(danger)], axis=1)
    arrays = {"latents": latents, "logsigmas": np.full_like(latents, -1.0), "actions": np.zeros_like(latents)}
    checkpoint.write_npz(
        path, {**arrays, "rewards": -deadly, "terminals": deadly, "offsets": np.cumsum([0, *lengths[:-1]])}
    )
    return LatentSequenceDataset(path, 32, num_test_files=0)


def train_on(data: LatentSequenceDataset, logdir, **values) -> dict:
    torch.set_num_threads(1)  # a network so small takes longer with two, most of all on a busy machine
    config = WMMDNRNNConfig(latent_size=2, action_size=2, hidden_size=16, logdir=str(logdir), **values)
    return train_mdrnn(data, data, config, seed=1, identity="same", device=CPU)


def test_the_end_of_an_episode_is_learnt_as_often_as_it_comes(tmp_path):
    data = hazard(tmp_path / "latents_2.npz")
    result = train_on(data, tmp_path, num_epochs=16, learning_rate=0.01)
    m = MDRNN(2, 2, 16, 5)
    m.load_state_dict(result["best"]["state_dict"])
    danger = data.arrays["latents"][:, 0] == 3
    with torch.no_grad():
        *_, rewards, ends = m(data.arrays["actions"][:, None], data.arrays["latents"][:, None])
    share = data.arrays["terminals"][danger].mean().item()
    assert share == pytest.approx(0.475, abs=0.05)
    assert torch.sigmoid(ends[danger, 0]).mean().item() == pytest.approx(share, abs=0.08)
    assert rewards[danger, 0].mean().item() == pytest.approx(-share, abs=0.08)
    assert torch.sigmoid(ends[~danger, 0]).mean() < 0.01


def test_means_of_an_epoch_weigh_every_row_the_same(tmp_path, float32):
    """They do not depend on how sequences of different lengths share batches."""
    data = hazard(tmp_path / "latents_2.npz", episodes=9)
    data.arrays["logsigmas"][:] = -100.0  # whose noise would be another for each size of batch
    rows = [train_on(data, tmp_path / str(size), num_epochs=1, learning_rate=1e-9, batch_size=size)["history"][0]
            for size in (1, 7, 1000)]  # fmt: skip
    for row in rows:
        assert row["steps"] == len(data.arrays["rewards"])
        for name in ("gmm", "bce", "mse", "loss"):
            for kind in ("", "train_"):
                assert row[kind + name] == pytest.approx(rows[0][kind + name], rel=1e-4), kind + name
    m = MDRNN(2, 2, 16, 5)
    m.load_state_dict(train_on(data, tmp_path / "0", num_epochs=0)["best"]["state_dict"])
    whole = get_loss(m, **data.gather(data.sequences), reward_scale=1.0)
    assert whole["loss"].item() == pytest.approx(rows[0]["loss"], rel=1e-3)


def test_the_cell_does_what_the_network_does():
    torch.manual_seed(0)
    m = MDRNN(32, 3, 256, 5).eval()
    cell = to_cell(m)
    actions, latents = torch.randn(100, 2, 3), torch.randn(100, 2, 32)
    with torch.no_grad():
        whole = m(actions, latents)
        hidden = cell.get_init_hidden(2)
        assert hidden[0].shape == (2, 256) and not hidden[0].any()
        for t in range(100):
            *outputs, hidden = cell(actions[t], latents[t], hidden)
            for one, other in zip(outputs, whole):
                torch.testing.assert_close(one, other[t], atol=1e-5, rtol=1e-5)


def test_the_hidden_state_remembers():
    cell = MDRNNCell(*SIZES)
    a, z = torch.randn(1, 3), torch.randn(1, 32)
    first = cell.get_init_hidden(1)
    second = cell.remember(a, z, first)
    assert not torch.allclose(cell.remember(a, z, second)[0], second[0])
