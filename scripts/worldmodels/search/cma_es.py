"""CMA-ES as a maximizer (paper, appendix A.4)."""

from collections.abc import Iterator
from contextlib import contextmanager

import cma
import numpy as np
from cma.sigma_adaptation import CMAAdaptSigmaCSA, CMAAdaptSigmaTPA

from worldmodels.runtime.errors import UserError
from worldmodels.search.base import Search, one_thread


class CMAES(Search):
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
