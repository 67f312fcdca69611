"""The evolution-strategies gradient of the expected return (Salimans et al., 2017)."""

import numpy as np

from worldmodels.search.base import Search, one_thread

OFFSET = 0.1  # added to the distance from the highest fitness, in spreads; it bounds the slope of the logarithm


class EvolutionStrategiesGradient(Search):
    """Ascent of the expected utility along the evolution-strategies gradient (Salimans et al., 2017, section 2).

    The candidates are mean + sigma * z_i with standard normal noise z_i. In each generation the mean moves by

        rate * sigma / pop_size * sum_i (U_i - mean(U)) / s * z_i
        U_i = -log((top - R_i) / d + 0.1)

    R_i is the fitness of candidate i, and U_i its utility. top is the highest fitness of the generation. d and s are
    the standard deviations of the fitness and of the utilities within a generation, averaged over all generations so
    far.

    CMA-ES uses only the ranks of the candidates. Among candidates that finish a lap the fastest ranks first, so its
    mean drifts toward fast, crash-prone driving. Here a crash counts more than a slow lap. With the returns themselves
    it would count so much more that nothing else is learned: the logarithm is between returns and ranks.

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
        self.fitness_spreads: list[float] = []
        self.utility_spreads: list[float] = []

    def ask(self) -> np.ndarray:
        """Return the candidates of the next generation, (pop_size, P)."""
        self.noise = self.random.standard_normal((self.pop_size, len(self.first)))
        return self.mean + self.sigma * self.noise

    @one_thread
    def update(self, fitness: np.ndarray) -> None:
        """Move the mean by the fitness (pop_size,), which is finite."""
        utilities = self.utilities(fitness)
        self.utility_spreads.append(utilities.std())
        advantages = (utilities - utilities.mean()) / (np.mean(self.utility_spreads) or 1.0)
        self.means.append(self.mean + self.rate * self.sigma / self.pop_size * (advantages @ self.noise))

    def utilities(self, fitness: np.ndarray) -> np.ndarray:
        """Take the next generation's fitness (pop_size,) into d, and return its utilities (pop_size,)."""
        self.fitness_spreads.append(fitness.std())
        return -np.log((fitness.max() - fitness) / (np.mean(self.fitness_spreads) or 1.0) + OFFSET)
