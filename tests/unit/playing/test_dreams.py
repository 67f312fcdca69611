"""Dreams sample M's mixture at their temperature, and likelihoods are those of the network."""

import math

import numpy as np
import pytest
import torch

from worldmodels.models.mdrnn import MDRNN, gmm_loss, to_cell
from worldmodels.playing.dreams import dream, sample_latent
from worldmodels.playing.likelihood import cut_windows, horizon_nll, trivial_nll


def mixture(batch: int = 4000) -> tuple[torch.Tensor, ...]:
    """Two Gaussians in two dimensions, far apart, with weights 0.8 and 0.2."""
    mus = torch.tensor([[-40.0, -40.0], [40.0, 40.0]]).expand(batch, 2, 2)
    sigmas = torch.tensor([[1.0, 2.0], [1.0, 2.0]]).expand(batch, 2, 2)
    return mus, sigmas, torch.tensor([0.8, 0.2]).log().expand(batch, 2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_divides_the_logits_and_scales_the_noise(temperature):
    z = sample_latent(*mixture(), temperature, torch.Generator().manual_seed(1))
    second = z[:, 0] > 0
    weights = np.array([0.8, 0.2]) ** (1 / temperature)
    assert float(second.float().mean()) == pytest.approx(weights[1] / weights.sum(), abs=0.03)
    assert ((z > 0).all(1) | (z < 0).all(1)).all()  # one Gaussian for the whole latent
    expected = np.array([1.0, 2.0]) * math.sqrt(temperature)
    assert z[~second].std(0).numpy() == pytest.approx(expected, rel=0.06)


def test_temperature_zero_is_the_mean_of_the_most_likely_gaussian():
    assert (sample_latent(*mixture(), temperature=0) == -40).all()
    nearly = sample_latent(*mixture(), temperature=1e-8)
    assert torch.allclose(nearly, torch.tensor(-40.0), atol=1e-2)


def network(seed: int = 1) -> MDRNN:
    torch.manual_seed(seed)
    return MDRNN(latents=4, actions=2, hiddens=16, gaussians=3).eval().requires_grad_(False)


def test_dream_feeds_its_own_latents_back():
    """Step by step by hand, at temperature 0."""
    mdrnn = network()
    cell, actions, z = to_cell(mdrnn), torch.randn(5, 1, 2), torch.randn(1, 4)
    result = list(dream(cell, z, cell.get_init_hidden(1), lambda k, z, h: actions[k], 5, temperature=0))
    sequence = z
    for k in range(5):  # the whole sequence from its start, each time
        inputs = torch.cat([z.unsqueeze(0), *(step.latent.unsqueeze(0) for step in result[:k])])
        mus, _, logpi, rewards, _ = mdrnn(actions[: k + 1], inputs)
        sequence = mus[-1, 0, logpi[-1, 0].argmax()]
        assert torch.allclose(result[k].latent[0], sequence, atol=1e-5)
        assert float(result[k].reward) == pytest.approx(float(rewards[-1, 0]), abs=1e-5)


def test_likelihood_one_step_ahead_is_that_of_the_network():
    mdrnn, episodes = network(), [(torch.randn(40, 4), torch.randn(40, 2)) for _ in range(3)]
    windows = cut_windows(episodes, warm_up=6, horizon=5, stride=4)
    actual = horizon_nll(mdrnn, windows, samples=3, generator=torch.Generator().manual_seed(1))
    expected = []
    for z, actions in episodes:
        for s in range(0, 40 - 11, 4):
            *mix, _, _ = mdrnn(actions[s : s + 7, None], z[s : s + 7, None])
            expected.append(float(gmm_loss(z[s + 7], *(part[-1, 0] for part in mix))))
    assert len(actual) == 5 and windows.latents.shape == (12, len(expected), 4)
    assert actual[0] == pytest.approx(np.mean(expected), abs=1e-4)


def test_more_dreams_do_not_count_as_more_likelihood():
    """A network that ignores its input says the same at every horizon, however many dreams are averaged."""
    mdrnn = network()
    for parameter in mdrnn.rnn.parameters():
        parameter.zero_()
    windows = cut_windows([(torch.randn(1, 4).expand(40, 4), torch.randn(40, 2))], 5, 8, 3)
    first, many = (horizon_nll(mdrnn, windows, n, torch.Generator().manual_seed(1)) for n in (1, 16))
    assert first == pytest.approx(many, abs=1e-4) and np.ptp(first) < 1e-4


def test_trivial_predictors_of_a_random_walk():
    """z stays: the spread of a random walk grows with the square root of the horizon."""
    walk = torch.randn(20000, 3, generator=torch.Generator().manual_seed(1)).cumsum(0) * 0.5
    stays, any_z = trivial_nll(cut_windows([(walk, torch.zeros(20000, 1))], 2, 9, 3))
    for k in (1, 4, 9):
        expected = 3 * (0.5 * math.log(2 * math.pi) + 0.5 + math.log(0.5 * math.sqrt(k)))
        assert stays[k - 1] == pytest.approx(expected, abs=0.1)
    assert any_z > stays[-1]


def test_windows_never_cross_the_end_of_an_episode():
    episodes = [(torch.full((n, 1), float(n)), torch.zeros(n, 1)) for n in (5, 9, 30)]
    windows = cut_windows(episodes, warm_up=4, horizon=4, stride=2)
    assert (windows.latents == windows.latents[0]).all()
    assert set(windows.latents[0].flatten().tolist()) == {9.0, 30.0}
    assert cut_windows(episodes[:1], 4, 4, 2) is None
