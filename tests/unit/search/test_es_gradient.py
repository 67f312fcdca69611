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
    assert np.abs(strategy.mean - first).max() < 0.15 * abs(first[0])


def test_the_utilities_weigh_a_crash_more_than_ranks_do_and_less_than_returns_do():
    strategy = ascent(pop_size=4)
    lap, second_lap, crash = 915.0, 885.0, 500.0
    utilities = strategy.utilities(np.array([lap, second_lap, second_lap, crash]))
    assert (np.diff(utilities[[0, 1, 3]]) < 0).all() and utilities[1] == utilities[2]
    small, large = utilities[0] - utilities[1], utilities[1] - utilities[3]
    assert 1 < large / small < (second_lap - crash) / (lap - second_lap)


def test_the_utilities_are_those_of_returns_of_another_scale_and_origin():
    """A reward in other units, or one that pays for every step, changes nothing."""
    returns = np.random.default_rng(0).normal(size=(3, 64))
    one, other = ascent(), ascent()
    for row in returns:
        for strategy, fitness in ((one, row), (other, 250 * row - 3000)):
            strategy.ask()
            strategy.tell(fitness)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-9)


def test_a_harder_track_changes_no_step():
    """All candidates of a generation drive the same track, so a constant on its returns does nothing."""
    one, other = ascent(), ascent()
    for row, harder in zip(np.random.default_rng(0).normal(850.0, 60.0, size=(3, 64)), (0.0, 300.0, 100.0)):
        for strategy, fitness in ((one, row), (other, row - harder)):
            strategy.ask()
            strategy.tell(fitness)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-9)


def test_equal_returns_leave_the_mean_unchanged():
    strategy = ascent()
    for _ in range(2):
        strategy.ask()
        strategy.tell(np.full(64, -1.0))
    assert not strategy.mean.any()
