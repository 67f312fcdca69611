"""A landscape to climb, and a search that climbs it."""

import numpy as np

from worldmodels.search.gradient import EvolutionStrategiesGradient


def peak(x: np.ndarray) -> np.ndarray:
    """Highest, 0, at x = 1."""
    return -((np.atleast_2d(x) - 1.0) ** 2).sum(axis=1)


def ascent(size=5, sigma=0.1, rate=1.0, pop_size=64) -> EvolutionStrategiesGradient:
    return EvolutionStrategiesGradient(np.zeros(size), sigma, rate, pop_size, np.random.RandomState(1))
