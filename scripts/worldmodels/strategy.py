"""CMA-ES as a maximiser (paper, appendix A.4)."""

import cma
import numpy as np
from threadpoolctl import threadpool_limits

from worldmodels.settings import UserError, nearest

# CMA-ES's linear algebra: its last bits depend on the number of threads, and so on the cores that a run was given.
one_thread = threadpool_limits.wrap(limits=1, user_api="blas")


class EvolutionStrategy:
    """CMA-ES that maximises; asked again from the start and told the same, it is in the same state again.

    Args:
        size: number of parameters; the first mean is 0.
        seed: of its own random numbers.
        more: further options of the library.

    Raises:
        UserError: an option that the library does not know, or that is set elsewhere.
    """

    def __init__(self, size: int, sigma0: float, pop_size: int, seed: int, more: dict | None = None) -> None:
        self.random = np.random.RandomState(seed)
        options = {"popsize": pop_size, "randn": self.random.randn, "seed": np.nan, "verbose": -9}
        known = set(cma.CMAOptions.defaults())
        for name in more or {}:
            if name in options:
                raise UserError(f"ctrl.cma: {name} is not set here, but by ctrl.pop_size and seed")
            if name not in known:
                raise UserError(f"ctrl.cma: expected options of pycma, found {name!r}{nearest(name, known)}")
        self.options = options | (more or {})
        try:
            self.start(np.zeros(size), sigma0)
        except Exception as error:  # of any kind: pycma evaluates text as Python
            if not more:
                raise
            raise UserError(f"ctrl.cma: expected options that pycma takes, found {more} ({error})") from None

    @one_thread
    def start(self, mean: np.ndarray, sigma: float, parents: float = 0.0) -> None:
        """Search around this mean (P,), with this step size and without a memory.

        Args:
            parents: share of the candidates, the best ones, that make the next mean, all with the same weight; 0: the
                better half, by the logarithm of the rank. Ranks know no distances: where many candidates finish,
                those weights ask who was fastest, and the mean drifts to where it often fails. Equal ones, of more
                than the half, ask who failed.
        """
        self.es = cma.CMAEvolutionStrategy(mean, sigma, equal_weights(self.options["popsize"], parents) | self.options)
        self.means: list[np.ndarray] = []  # of the distribution after each generation since then

    @one_thread
    def ask(self) -> np.ndarray:
        """A generation of candidates, (pop_size, P)."""
        self.candidates = np.stack(self.es.ask())
        return self.candidates

    @one_thread
    def tell(self, fitness: np.ndarray) -> None:
        """Take in the candidates' returns (pop_size,); the library minimises, so it is told their negatives."""
        self.es.tell(list(self.candidates), list(-fitness))
        self.means.append(self.es.mean.copy())

    def average(self, share: float) -> np.ndarray:
        """The average of the distribution's means over this share of the generations since the start, the last ones.

        The mean is better, and less a matter of luck, than any candidate; but noisy returns shake it by a part of
        sigma every generation. Averaging takes that out (Polyak and Juditsky, 1992; over a suffix, as Rakhlin et al.,
        2012).
        """
        if not self.means:
            return self.es.mean.copy()
        return np.mean(self.means[-max(1, round(share * len(self.means))) :], axis=0)

    @property
    def sigma(self) -> float:
        return float(self.es.sigma)


def equal_weights(pop_size: int, parents: float) -> dict:
    """pycma's option for a mean of this share of the candidates, see start.

    The others' weights, which are negative, only shape the covariance matrix.
    """
    if not parents:
        return {}
    count = min(max(1, round(parents * pop_size)), pop_size - 1)
    others = pop_size - count
    return {"CMA_recombination_weights": [1 / count] * count + [-1 / others] * others}
