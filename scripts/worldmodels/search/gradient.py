"""The evolution-strategies gradient of the expected return (Salimans et al., 2017)."""

import numpy as np

from worldmodels.search.base import Search, one_thread


class EvolutionStrategiesGradient(Search):
    """Ascent of the expected return of candidates that are normally distributed around the mean, all sigma wide.

    Its gradient is estimated from a generation (Salimans et al., 2017, section 2): a candidate counts by the
    difference of its return from the average, not by its rank as in CMA-ES. Ranks know no distances: where many
    candidates finish, they ask who was fastest, and the mean drifts to where it is fast and often fails.

    The mean moves by rate * sigma / pop_size * sum_i (R_i - mean(R)) / s * z_i, where sigma * z_i is what candidate i
    differs from the mean by, and s the standard deviation of a generation's returns, averaged since the start: tracks
    on which all candidates do alike move it little.
    """

    def __init__(
        self, mean: np.ndarray, sigma: float, rate: float, pop_size: int, random: np.random.RandomState
    ) -> None:
        super().__init__(mean, random)
        self.sigma, self.rate, self.pop_size = sigma, rate, pop_size
        self.spreads: list[float] = []

    def ask(self) -> np.ndarray:
        self.deviations = self.random.standard_normal((self.pop_size, len(self.first)))
        return self.mean + self.sigma * self.deviations

    @one_thread
    def update(self, fitness: np.ndarray) -> None:
        self.spreads.append(fitness.std())
        advantages = (fitness - fitness.mean()) / (np.mean(self.spreads) or 1.0)
        self.means.append(self.mean + self.rate * self.sigma / self.pop_size * (advantages @ self.deviations))
