"""What a search for C's parameters is: ask for candidates, tell their returns."""

from abc import ABC, abstractmethod

import numpy as np
from threadpoolctl import threadpool_limits

from worldmodels.runtime.errors import UserError

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
