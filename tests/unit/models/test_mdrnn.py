"""M has the right shapes, its likelihood is that of torch.distributions, and it learns."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from helpers.models import random_batch
from worldmodels.models.mdrnn import MDRNN, MDRNNCell, get_loss, gmm_loss, to_cell

SIZES = (32, 3, 64, 5)


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
    for first, second in zip(m(*given), plain):
        torch.testing.assert_close(first, second)
    weights = list(m.rnn.parameters())
    ours, expected = (torch.autograd.grad(mus.square().sum(), weights) for mus in (m(*given)[0], plain[0]))
    for first, second in zip(ours, expected):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


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


@pytest.mark.parametrize("include_reward, scale", [(True, 34), (False, 33)])
def test_get_loss_terms_and_scale(include_reward, scale):
    m, data = MDRNN(*SIZES), random_batch()
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
    m, data = MDRNN(*SIZES), random_batch()
    valid = torch.ones(6, 2)
    valid[5, 0] = 0
    changed = {**data, "next_latents": data["next_latents"].clone()}
    changed["next_latents"][5, 0] = 99.0
    assert torch.equal(get_loss(m, **data, valid=valid)["loss"], get_loss(m, **changed, valid=valid)["loss"])
    assert not torch.equal(get_loss(m, **data)["loss"], get_loss(m, **changed)["loss"])


def test_padding_does_not_count_and_rewards_are_scaled():
    m, data = MDRNN(*SIZES), random_batch()
    padding = torch.zeros(6, 2)
    padding[4:, 1] = 1
    valid = 1 - padding
    terminals = torch.where(padding == 1, 1 - data["terminals"], data["terminals"])
    changed = {**data, "rewards": data["rewards"] + 50 * padding, "terminals": terminals}
    first, second = (get_loss(m, **d, valid=valid, padding=padding) for d in (data, changed))
    assert all(torch.equal(first[key], second[key]) for key in first)
    rs = m(data["actions"], data["latents"])[3]
    expected = (rs - data["rewards"]).square()[padding == 0].mean() / 9
    torch.testing.assert_close(get_loss(m, **data, padding=padding, reward_scale=3.0)["mse"], expected)


def test_every_parameter_gets_a_gradient():
    m = MDRNN(*SIZES)
    get_loss(m, **random_batch())["loss"].backward()
    for name, p in m.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


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
            for first, second in zip(outputs, whole):
                torch.testing.assert_close(first, second[t], atol=1e-5, rtol=1e-5)


def test_the_hidden_state_remembers():
    cell = MDRNNCell(*SIZES)
    a, z = torch.randn(1, 3), torch.randn(1, 32)
    first = cell.get_init_hidden(1)
    second = cell.next_hidden(a, z, first)
    assert not torch.allclose(cell.next_hidden(a, z, second)[0], second[0])


KINDS = [("lstm", 1), ("lstm", 3), ("gru", 1), ("gru", 2)]


@pytest.mark.parametrize("cell, layers", KINDS)
def test_cell_of_any_kind_equals_the_network(cell, layers):
    torch.manual_seed(0)
    m = MDRNN(8, 3, 16, 2, cell, layers).eval()
    step, actions, latents = to_cell(m), torch.randn(20, 2, 3), torch.randn(20, 2, 8)
    with torch.no_grad():
        whole, hidden = m(actions, latents), step.get_init_hidden(2)
        assert len(hidden) == (2 if cell == "lstm" else 1) and hidden[0].shape == (2, 16 * layers)
        for t in range(20):
            *outputs, hidden = step(actions[t], latents[t], hidden)
            for first, second in zip(outputs, whole):
                torch.testing.assert_close(first, second[t], atol=1e-5, rtol=1e-5)
    last = step.last_layer(hidden)
    torch.testing.assert_close(last[0], m.rnn(torch.cat([actions, latents], -1))[0][-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell, layers", KINDS)
def test_every_parameter_of_any_kind_gets_a_gradient(cell, layers):
    m = MDRNN(8, 3, 16, 2, cell, layers)
    z, values = torch.randn(7, 2, 8), torch.rand(6, 2)
    get_loss(m, z[:-1], torch.randn(6, 2, 3), values, values.round(), z[1:])["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in m.parameters())


@pytest.mark.parametrize("cell, layers, count", [("lstm", 1, 2), ("lstm", 2, 2), ("gru", 1, 1)])
def test_both_forms_of_m_start_at_the_same_hidden_state(cell, layers, count):
    mdrnn = MDRNN(4, 3, 8, 5, cell, layers)
    hidden = mdrnn.get_init_hidden(6)
    assert [tuple(tensor.shape) for tensor in hidden] == [(6, layers * 8)] * count
    assert not any(tensor.any() for tensor in hidden)
    actions, latents = torch.randn(1, 6, 3), torch.randn(1, 6, 4)
    stepped, whole = to_cell(mdrnn)(actions[0], latents[0], hidden)[0], mdrnn(actions, latents)[0][0]
    torch.testing.assert_close(stepped, whole)
