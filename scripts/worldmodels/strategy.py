"""The searches for C's parameters: CMA-ES as a maximiser (paper, appendix A.4), then ascent of the expected return."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import cma
import numpy as np
from cma.sigma_adaptation import CMAAdaptSigmaCSA, CMAAdaptSigmaTPA
from threadpoolctl import threadpool_limits

from worldmodels.settings import UserError

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

    def tell(self, fitness: np.ndarray) -> None:
        """Take in the returns (pop_size,) of the candidates asked for last.

        Raises:
            UserError: a return is not finite, or their variance is not. The search then stays as it was.
        """
        check_returns(fitness, len(self.means) + 1)
        self.update(fitness)

    @abstractmethod
    def update(self, fitness: np.ndarray) -> None:
        """Move the distribution by the returns (pop_size,), which are finite."""

    def average(self, share: float) -> np.ndarray:
        """The average of the distribution's means over this share of the generations, the last ones.

        The mean is better, and less a matter of luck, than any candidate; but noisy returns shake it by a part of
        sigma every generation. Averaging takes that out (Polyak and Juditsky, 1992; over a suffix, as Rakhlin et al.,
        2012).
        """
        if not self.means:
            return self.first.copy()
        return np.mean(self.means[-max(1, round(share * len(self.means))) :], axis=0)


def check_returns(
    returns: np.ndarray, generation: int, seeds: list[int] | None = None, validation: bool = False
) -> None:
    """Refuse returns from which no search can learn.

    Args:
        returns: (pop_size,), or (pop_size, episodes of each candidate), or a validation's (episodes,).
        generation: for the message, as are the seeds of all episodes, candidate by candidate.

    Raises:
        UserError: a return is not finite, or their variance is not.
    """
    bad = np.flatnonzero(~np.isfinite(returns))
    if len(bad):
        candidate = bad[0] // (returns.size // len(returns)) + 1
        place = "the validated mean" if validation else f"candidate {candidate}"
        place += f" in the episode of seed {seeds[bad[0]]}" if seeds else ""
        raise UserError(
            f"env.id: expected finite returns, found {returns.flat[bad[0]]} of {place}, generation {generation}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        spread = np.std(returns)
    if not np.isfinite(spread):
        largest = int(np.abs(returns).argmax())
        raise UserError(
            f"env.id: expected returns with a finite variance, found {returns.flat[largest]:g}, "
            f"generation {generation}; scale the rewards down"
        )


class EvolutionStrategy(Search):
    """CMA-ES that maximises.

    Args:
        size: number of parameters; the first mean is 0.
        seed: of its own random numbers.
        more: further options of the library, see cma_options.py.

    Raises:
        UserError: the library fails with these options.
    """

    ADAPTATIONS = {"CSA": CMAAdaptSigmaCSA, "TPA": CMAAdaptSigmaTPA}  # pycma takes the classes

    def __init__(self, size: int, sigma0: float, pop_size: int, seed: int, more: dict | None = None) -> None:
        super().__init__(np.zeros(size), np.random.RandomState(seed))
        self.more = dict(more or {})
        options = {"popsize": pop_size, "randn": self.random.randn, "seed": np.nan, "verbose": -9} | self.more
        options["signals_filename"] = ""  # pycma would take options from a file in the working directory
        if "AdaptSigma" in self.more:
            options["AdaptSigma"] = self.ADAPTATIONS.get(self.more["AdaptSigma"], self.more["AdaptSigma"])
        with self.blaming_options():
            self.es = one_thread(cma.CMAEvolutionStrategy)(self.first, sigma0, options)

    @contextmanager
    def blaming_options(self) -> Iterator[None]:
        """Name the user's options if pycma fails with them: extreme values break its arithmetic."""
        try:
            yield
        except Exception as error:
            if not self.more:
                raise
            raise UserError(
                f"ctrl.cma: expected options that pycma can search with, found {self.more} "
                f"({type(error).__name__}: {error})"
            ) from None

    @one_thread
    def ask(self) -> np.ndarray:
        with self.blaming_options():
            self.candidates = np.stack(self.es.ask())
            if not np.isfinite(self.candidates).all():
                raise ArithmeticError("a candidate is not finite")
        return self.candidates

    @one_thread
    def update(self, fitness: np.ndarray) -> None:
        with self.blaming_options():
            self.es.tell(list(self.candidates), list(-fitness))  # it minimises
        # pycma may search in other coordinates than those it evaluates, for example where C is ill-conditioned.
        self.means.append(self.es.gp.pheno(self.es.mean.copy()))

    @property
    def sigma(self) -> float:
        return float(self.es.sigma)


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
    def update(self, fitness: np.ndarray) -> None:
        self.spreads.append(fitness.std())
        advantages = (fitness - fitness.mean()) / (np.mean(self.spreads) or 1.0)
        self.means.append(self.mean + self.rate * self.sigma / self.pop_size * (advantages @ self.deviations))
