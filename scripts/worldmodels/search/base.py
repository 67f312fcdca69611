"""What a search for C's parameters is: ask for candidates, tell their returns."""

from abc import ABC, abstractmethod

import numpy as np
from threadpoolctl import threadpool_limits

from worldmodels.runtime.errors import UserError

# The last bits of linear algebra depend on the number of threads. One thread makes them independent of a run's cores.
one_thread = threadpool_limits.wrap(limits=1, user_api="blas")


class Search(ABC):
    """A search distribution over C's parameters that is updated once per generation.

    Deterministic: replaying the same sequence of `ask` and `tell` restores the state.

    Attributes:
        sigma: the step size, which is the standard deviation of a candidate's parameters.
        first: the first mean of the distribution, (P,).
        means: the means after each generation, each (P,).

    Args:
        mean: the first mean, (P,).
        random: the search's own generator.
    """

    sigma: float

    def __init__(self, mean: np.ndarray, random: np.random.RandomState) -> None:
        self.first, self.random = mean, random
        self.means: list[np.ndarray] = []

    @property
    def mean(self) -> np.ndarray:
        """The present mean of the distribution, (P,)."""
        return self.means[-1] if self.means else self.first

    @abstractmethod
    def ask(self) -> np.ndarray:
        """Return the candidates of the next generation, (pop_size, P)."""

    def tell(self, fitness: np.ndarray) -> None:
        """Update the distribution by the fitness of the last candidates.

        Args:
            fitness: mean return of each candidate, (pop_size,); more is better.

        Raises:
            UserError: a return, or the variance of the returns, is not finite. The distribution then does not change.
        """
        check_returns(fitness, len(self.means) + 1)
        self.update(fitness)

    @abstractmethod
    def update(self, fitness: np.ndarray) -> None:
        """Update the distribution by the fitness (pop_size,), which is finite."""

    def average(self, share: float) -> np.ndarray:
        """Return the average of the means, (P,), over the last generations.

        The mean performs better than any candidate, but noisy returns move it by a part of sigma in every generation.
        Averaging removes that noise (Polyak and Juditsky, 1992; over the last iterates as Rakhlin et al., 2012).

        Args:
            share: of all generations; at least the last mean is averaged.
        """
        if not self.means:
            return self.first.copy()
        return np.mean(self.means[-max(1, round(share * len(self.means))) :], axis=0)


def check_returns(
    returns: np.ndarray, generation: int, seeds: list[int] | None = None, validation: bool = False
) -> None:
    """Raise an error for returns from which no search can learn.

    Args:
        returns: (pop_size,), or (pop_size, episodes per candidate), or (episodes,) of a validation.
        generation: its number, for the message.
        seeds: of all episodes, candidate by candidate, for the message.
        validation: whether the returns are those of a validation.

    Raises:
        UserError: a return, or the variance of the returns, is not finite.
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
