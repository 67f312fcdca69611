"""CMA-ES as a maximizer (paper, appendix A.4)."""

from collections.abc import Iterator
from contextlib import contextmanager

import cma
import numpy as np
from cma.sigma_adaptation import CMAAdaptSigmaCSA, CMAAdaptSigmaTPA

from worldmodels.runtime.errors import UserError
from worldmodels.search.base import Search, one_thread


class CMAES(Search):
    """The covariance matrix adaptation evolution strategy (Hansen, 2016), by pycma.

    It uses only the ranks of the candidates.

    Args:
        size: number of parameters, P.
        sigma0: the first step size.
        seed: of the search's own generator.
        pycma_options: ctrl.cma, see runtime/cma_options.py.
        first: the first mean, (P,). None: 0.

    Raises:
        UserError: pycma fails with these options.
    """

    ADAPTATIONS = {"CSA": CMAAdaptSigmaCSA, "TPA": CMAAdaptSigmaTPA}  # pycma takes the classes

    def __init__(
        self,
        size: int,
        sigma0: float,
        pop_size: int,
        seed: int,
        pycma_options: dict | None = None,
        first: np.ndarray | None = None,
    ) -> None:
        super().__init__(np.zeros(size) if first is None else first, np.random.RandomState(seed))
        self.pycma_options = dict(pycma_options or {})
        options = {"popsize": pop_size, "randn": self.random.randn, "seed": np.nan, "verbose": -9}
        options |= self.pycma_options
        options["signals_filename"] = ""  # pycma would take options from a file in the working directory
        if "AdaptSigma" in options:
            options["AdaptSigma"] = self.ADAPTATIONS.get(options["AdaptSigma"], options["AdaptSigma"])
        with self.blaming_options():
            self.es = one_thread(cma.CMAEvolutionStrategy)(self.first, sigma0, options)

    @contextmanager
    def blaming_options(self) -> Iterator[None]:
        """Return a context in which an error of pycma names the user's options: extreme values break its arithmetic."""
        try:
            yield
        except Exception as error:
            if not self.pycma_options:
                raise
            raise UserError(
                f"ctrl.cma: expected options that pycma can search with, found {self.pycma_options} "
                f"({type(error).__name__}: {error})"
            ) from None

    @one_thread
    def ask(self) -> np.ndarray:
        """Return the candidates of the next generation, (pop_size, P).

        Raises:
            UserError: pycma fails with the user's options.
        """
        with self.blaming_options():
            self.candidates = np.stack(self.es.ask())
            if not np.isfinite(self.candidates).all():
                raise ArithmeticError("a candidate is not finite")
        return self.candidates

    @one_thread
    def update(self, fitness: np.ndarray) -> None:
        """Update the distribution by the fitness (pop_size,), which is finite.

        Raises:
            UserError: pycma fails with the user's options.
        """
        with self.blaming_options():
            self.es.tell(list(self.candidates), list(-fitness))  # pycma minimizes
        # pycma may change its coordinates, for example where the covariance matrix is ill-conditioned.
        self.means.append(self.es.gp.pheno(self.es.mean.copy()))

    @property
    def sigma(self) -> float:
        """The step size."""
        return float(self.es.sigma)
