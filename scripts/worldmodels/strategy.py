"""The searches for C's parameters: CMA-ES as a maximiser (paper, appendix A.4), then ascent of the expected return."""

from abc import ABC, abstractmethod

import cma
import numpy as np
from threadpoolctl import threadpool_limits

from worldmodels.settings import UserError, nearest

# Linear algebra: its last bits depend on the number of threads, and so on the cores that a run was given.
one_thread = threadpool_limits.wrap(limits=1, user_api="blas")


class Search(ABC):
    """A distribution of candidates that moves a generation at a time; subclasses ask for it and tell it what they got.

    Asked again from the start and told the same, it is in the same state again.

    Attributes:
        sigma: the present step size, the standard deviation of a candidate's parameters.
        means: (P,) each, of the distribution after each generation.
    """

    sigma: float

    def __init__(self, mean: np.ndarray, random: np.random.RandomState) -> None:
        self.first, self.random = mean, random
        self.means: list[np.ndarray] = []

    @property
    def mean(self) -> np.ndarray:
        """The distribution's present mean (P,)."""
        return self.means[-1] if self.means else self.first

    @abstractmethod
    def ask(self) -> np.ndarray:
        """A generation of candidates, (pop_size, P)."""

    @abstractmethod
    def tell(self, fitness: np.ndarray) -> None:
        """Take in the returns (pop_size,) of the candidates asked for last."""

    def average(self, share: float) -> np.ndarray:
        """The average of the distribution's means over this share of the generations, the last ones.

        The mean is better, and less a matter of luck, than any candidate; but noisy returns shake it by a part of
        sigma every generation. Averaging takes that out (Polyak and Juditsky, 1992; over a suffix, as Rakhlin et al.,
        2012).
        """
        if not self.means:
            return self.first.copy()
        return np.mean(self.means[-max(1, round(share * len(self.means))) :], axis=0)


class EvolutionStrategy(Search):
    """CMA-ES that maximises.

    Args:
        size: number of parameters; the first mean is 0.
        seed: of its own random numbers.
        more: further options of the library.

    Raises:
        UserError: an option that the library does not know, or that is set elsewhere.
    """

    def __init__(self, size: int, sigma0: float, pop_size: int, seed: int, more: dict | None = None) -> None:
        super().__init__(np.zeros(size), np.random.RandomState(seed))
        check_names(more or {})
        options = {"popsize": pop_size, "randn": self.random.randn, "seed": np.nan, "verbose": -9}
        try:
            self.es = one_thread(cma.CMAEvolutionStrategy)(self.first, sigma0, options | (more or {}))
        except Exception as error:  # of any kind: pycma evaluates text as Python
            if not more:
                raise
            raise UserError(f"ctrl.cma: expected options that pycma takes, found {more} ({error})") from None

    @one_thread
    def ask(self) -> np.ndarray:
        self.candidates = np.stack(self.es.ask())
        return self.candidates

    @one_thread
    def tell(self, fitness: np.ndarray) -> None:
        self.es.tell(list(self.candidates), list(-fitness))  # it minimises
        self.means.append(self.es.mean.copy())

    @property
    def sigma(self) -> float:
        return float(self.es.sigma)


def check_names(more: dict) -> None:
    """Raise UserError for an option that pycma does not know, or that is set elsewhere."""
    known = set(cma.CMAOptions.defaults())
    for name in more:
        if name in ("popsize", "randn", "seed", "verbose"):
            raise UserError(f"ctrl.cma: {name} is not set here, but by the workflow (ctrl.pop_size, seed)")
        if name not in known:
            raise UserError(f"ctrl.cma: expected options of pycma, found {name!r}{nearest(name, known)}")


class ReturnAscent(Search):
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
    def tell(self, fitness: np.ndarray) -> None:
        self.spreads.append(fitness.std())
        advantages = (fitness - fitness.mean()) / (np.mean(self.spreads) or 1.0)
        self.means.append(self.mean + self.rate * self.sigma / self.pop_size * (advantages @ self.deviations))
