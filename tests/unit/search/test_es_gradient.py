"""The evolution-strategies gradient climbs, and is the slope of a linear return."""

import numpy as np

from helpers.search import ascent, peak


def test_es_gradient_climbs():
    strategy = ascent(10)
    for _ in range(300):
        strategy.tell(peak(strategy.ask()))
    assert peak(strategy.mean)[0] > -0.1 > peak(np.zeros(10))[0]
    assert peak(strategy.average(0.5))[0] > -0.01 and strategy.sigma == 0.1


def test_es_gradient_of_a_linear_return_is_its_slope():
    """Of a linear return its estimate is the slope, in the long run; a constant on top of it does nothing."""
    slope = np.array([3.0, 0.0, -4.0])
    strategy, second = ascent(3, rate=0.5, pop_size=100_000), ascent(3, rate=0.5, pop_size=100_000)
    strategy.tell(strategy.ask() @ slope)
    np.testing.assert_allclose(strategy.mean, 0.5 * 0.1 * slope / 5.0, atol=1e-3)  # rate * sigma along it
    second.tell(second.ask() @ slope + 900.0)
    np.testing.assert_allclose(second.mean, strategy.mean, atol=1e-6)


def test_es_gradient_weighs_by_distance_from_the_mean_return():
    """One failure among a thousand candidates counts, and so does not which of the others was best by a hair; where
    all do alike, little moves."""
    strategy = ascent(5, pop_size=1000)
    candidates = strategy.ask()
    failed = candidates[:, 0] > 0.2
    strategy.tell(np.where(failed, 0.0, 900.0 + candidates[:, 1]))
    first = strategy.mean
    assert 0 < failed.sum() < 50 and first[0] < -0.02 and abs(first[1]) < 0.01
    strategy.tell(900.0 + strategy.ask()[:, 1])
    assert np.abs(strategy.mean - first).max() < 1e-3


def test_equal_returns_leave_the_mean_unchanged():
    strategy = ascent()
    for _ in range(2):
        strategy.ask()
        strategy.tell(np.full(64, -1.0))
    assert not strategy.mean.any()
