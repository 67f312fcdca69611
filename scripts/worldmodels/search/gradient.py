"""The evolution-strategies gradient of the expected return (Salimans et al., 2017)."""

import numpy as np

from worldmodels.search.base import Search, one_thread


class EvolutionStrategiesGradient(Search):
    """Ascent of the expected return along the evolution-strategies gradient (Salimans et al., 2017, section 2).

    The candidates are mean + sigma * z_i with standard normal noise z_i. In each generation the mean moves by

        rate * sigma / pop_size * sum_i (R_i - mean(R)) / s * z_i

    R_i is the fitness of candidate i. s is the standard deviation of the fitness within a generation, averaged over all
    generations so far.

    CMA-ES uses only the ranks of the candidates. Among candidates that finish a lap the fastest ranks first, so its
    mean drifts toward fast, crash-prone driving. Here a crash counts as much as the return that it loses.

    Args:
        mean: the first mean, (P,).
        sigma: the step size, which stays the same.
        rate: how far the mean moves in a generation.
        pop_size: candidates per generation.
        random: generator of the noise.
    """

    def __init__(
        self, mean: np.ndarray, sigma: float, rate: float, pop_size: int, random: np.random.RandomState
    ) -> None:
        super().__init__(mean, random)
        self.sigma, self.rate, self.pop_size = sigma, rate, pop_size
        self.spreads: list[float] = []

    def ask(self) -> np.ndarray:
        """Return the candidates of the next generation, (pop_size, P)."""
        self.noise = self.random.standard_normal((self.pop_size, len(self.first)))
        return self.mean + self.sigma * self.noise

    @one_thread
    def update(self, fitness: np.ndarray) -> None:
        """Move the mean by the fitness (pop_size,), which is finite."""
        self.spreads.append(fitness.std())
        advantages = (fitness - fitness.mean()) / (np.mean(self.spreads) or 1.0)
        self.means.append(self.mean + self.rate * self.sigma / self.pop_size * (advantages @ self.noise))
