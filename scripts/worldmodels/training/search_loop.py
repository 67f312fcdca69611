"""The loop of C's training: generations of candidates, validations of the mean, and the state to continue from."""

import math
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
import torch

from worldmodels.runtime import interrupts
from worldmodels.runtime.config import WMControllerConfig
from worldmodels.runtime.progress import progress
from worldmodels.search.base import Search, check_returns
from worldmodels.search.cma_es import CMAES
from worldmodels.search.evaluator import Evaluator, Result
from worldmodels.search.gradient import EvolutionStrategiesGradient
from worldmodels.training.history import COLUMNS
from worldmodels.training.tracks import TrackSampler


class Validation(NamedTuple):
    """The validation of a mean.

    Attributes:
        reward: mean return of its episodes.
        reward_std: their standard deviation; None of one episode.
        env_steps: environment steps that it took.
    """

    reward: float
    reward_std: float | None
    env_steps: int


class SearchLoop:
    """Asks the search for candidates, evaluates them and tells the search their returns.

    Every few generations the average of the search's means is validated on fixed tracks, and the best average is kept.
    It is validated together with the next generation's candidates, so that no worker waits for it.

    Attributes:
        history: a row per generation, with the keys history.COLUMNS.
        returns: of each generation, (pop_size, episodes per candidate).
        validations: generation -> the validation of its average.
        best: reward, reward_std, epoch (the generation; 0: the start) and parameters (P,) of the best average.
        env_steps: environment steps so far, validations included.
        saved_generations: generations in the saved state, which a smaller budget must not cut.
        jobs: the pieces of the generation that is being evaluated.
        finished_pieces: results, by number of the piece, of a generation that was interrupted.

    Args:
        seed: of the run.
    """

    def __init__(self, search: Search, evaluator: Evaluator, config: WMControllerConfig, seed: int) -> None:
        self.search, self.evaluator, self.config = search, evaluator, config
        self.tracks = TrackSampler(config, seed)
        self.history: list[dict] = []
        self.returns: list[np.ndarray] = []
        self.validations: dict[int, Validation] = {}
        self.best: dict = {"reward": float("-inf"), "reward_std": None, "epoch": 0, "parameters": self.mean}
        self.env_steps = 0
        self.saved_generations = 0
        self.jobs: list[Future] = []
        self.finished_pieces: dict[int, Result] = {}

    @property
    def generation(self) -> int:
        """The number of finished generations."""
        return len(self.returns)

    @property
    def episodes(self) -> int:
        """Episodes per candidate in the next generation."""
        growth = self.config.sample_growth
        return self.config.n_samples + (self.env_steps // growth if growth else 0)

    @property
    def mean(self) -> np.ndarray:
        """The average of the search's means, (P,): what is validated and, if it is the best so far, kept."""
        return self.search.average(self.config.average)

    @property
    def validation_is_due(self) -> bool:
        """Whether the present mean is to be validated. The first mean is, if it is an earlier C (ctrl.start)."""
        if self.generation == 0:
            return bool(self.config.start)
        return self.generation % self.config.validation_interval == 0

    def end_reason(self) -> str:
        """Return why training has ended; empty if it has not."""
        config = self.config
        if config.target_return is not None and self.best["reward"] >= config.target_return:
            return f"target return {config.target_return:g} reached"
        if self.generation >= config.num_generations:
            return f"{config.num_generations} generations done"
        if config.max_env_steps and self.env_steps >= config.max_env_steps:
            return f"{config.max_env_steps} environment steps done"
        return ""

    def run(self) -> Iterator[None]:
        """Train; yield after every generation, when the state is to be saved.

        The last mean is validated, too, after the last yield. A training that is continued with a larger budget knows
        nothing of that validation, so it equals one long training.

        Raises:
            Interrupted: a signal came.
            UserError: a return is not finite.
        """
        while not self.end_reason():
            start = time.monotonic()
            self.switch_search()
            candidates, mean, tracks = self.search.ask(), self.mean, self.next_tracks()
            (returns, lengths), validation = self.evaluate(candidates, tracks)
            with interrupts.patiently():  # all of this or nothing is in the saved state
                if validation:
                    self.record_validation(self.generation, validation, mean)
                self.record_generation(returns, int(lengths.sum()), tracks, start)
                yield
            interrupts.check()
        validation = self.collect_validation(self.submit_validation())
        self.record_validation(self.generation, validation, self.mean)

    def next_tracks(self) -> list[int]:
        """Return the tracks of all episodes of the next generation, candidate by candidate."""
        return self.tracks.sample(self.generation + 1, self.episodes)

    def switch_search(self) -> None:
        """Replace CMA-ES by the evolution-strategies gradient, once it is time to."""
        config = self.config
        after = config.ascent_after * config.n_samples
        if after and self.env_steps >= after and isinstance(self.search, CMAES):
            sigma = min(self.search.sigma, config.sigma0)
            self.search = EvolutionStrategiesGradient(
                self.mean, sigma, config.ascent_rate, config.pop_size, self.search.random
            )

    def evaluate(self, candidates: np.ndarray, tracks: list[int]) -> tuple[Result, Validation | None]:
        """Play the candidates' episodes and, beside them, the validation of the mean if it is due.

        Args:
            candidates: (pop_size, P).
            tracks: of all episodes, candidate by candidate.

        Returns:
            Returns (pop_size, episodes per candidate) and lengths of the episodes; the validation, or None.
        """
        parameters = np.repeat(candidates, self.episodes, axis=0)
        jobs = self.evaluator.submit(parameters, tracks, self.finished_pieces)
        validation_jobs = self.submit_validation() if self.validation_is_due else []
        self.jobs = [*jobs, *validation_jobs]
        for job in progress(self.jobs, f"ctrl: generation {self.generation + 1}", display=self.config.display):
            job.result()
        returns, lengths = self.evaluator.collect(jobs)
        returns = returns.reshape(-1, self.episodes)
        check_returns(returns, self.generation + 1, tracks)
        return (returns, lengths), self.collect_validation(validation_jobs) if validation_jobs else None

    def record_generation(self, returns: np.ndarray, env_steps: int, tracks: list[int], start: float) -> None:
        """Tell the search the candidates' returns, and write a row of the history.

        Args:
            returns: (pop_size, episodes per candidate).
            env_steps: of the candidates' episodes.
            start: time.monotonic() when the generation began.
        """
        self.env_steps += env_steps
        self.tell(returns, tracks)
        fitness = returns.mean(axis=1)
        values = (self.generation, self.env_steps, float(fitness.mean()), float(fitness.max()), None)
        self.history.append(dict(zip(COLUMNS, (*values, self.search.sigma, time.monotonic() - start))))
        self.jobs, self.finished_pieces = [], {}

    def tell(self, returns: np.ndarray, tracks: list[int]) -> None:
        """Tell the search the returns (pop_size, episodes per candidate), and remember them by track."""
        self.search.tell(returns.mean(axis=1))
        self.returns.append(returns)
        self.tracks.record(tracks, returns)

    def submit_validation(self) -> list[Future]:
        """Start the validation of the present mean."""
        seeds = self.tracks.validation_seeds()
        return self.evaluator.submit(np.tile(self.mean, (len(seeds), 1)), seeds)

    def collect_validation(self, jobs: list[Future]) -> Validation:
        """Return the validation that these jobs play.

        Raises:
            UserError: a return is not finite.
        """
        returns, lengths = self.evaluator.collect(jobs)
        check_returns(returns, self.generation, self.tracks.validation_seeds(), validation=True)
        std = float(returns.std(ddof=1)) if len(returns) > 1 else None
        return Validation(float(returns.mean()), std, int(lengths.sum()))

    def record_validation(self, generation: int, validation: Validation, mean: np.ndarray) -> None:
        """Record the validation of the mean after a generation, and keep the mean if it is the best so far.

        The history has no row of generation 0, which is the start of the search.
        """
        self.env_steps += validation.env_steps
        self.validations[generation] = validation
        if generation:
            self.history[generation - 1]["validation_mean"] = validation.reward
        if validation.reward > self.best["reward"]:
            score = {"reward": validation.reward, "reward_std": validation.reward_std}
            self.best = {**score, "epoch": generation, "parameters": mean}

    def keep_finished_pieces(self) -> None:
        """Keep the finished pieces of an interrupted generation. Its validation, if there is one, is played again."""
        if not self.jobs:
            return
        pieces = math.ceil(self.config.pop_size * self.episodes / self.evaluator.lanes)
        self.finished_pieces = {
            number: job.result()
            for number, job in enumerate(self.jobs[:pieces])
            if job.done() and not job.cancelled() and not job.exception()
        }

    def state_dict(self) -> dict:
        """Return the state as plain values and tensors. The search is in it as the returns of all generations."""
        return {
            "returns": [torch.from_numpy(returns) for returns in self.returns],
            "history": self.history,
            "validations": {generation: tuple(each) for generation, each in self.validations.items()},
            "partial": {
                number: tuple(torch.from_numpy(array) for array in result)
                for number, result in self.finished_pieces.items()
            },
        }

    def load_state_dict(self, state: dict) -> None:
        """Replay the saved generations, up to the present budget, which may be smaller than the saved one's."""
        self.saved_generations = len(state["returns"])
        for returns, row in zip(state["returns"], state["history"]):
            if self.end_reason():
                return
            self.switch_search()
            tracks = self.next_tracks()
            if self.generation in state["validations"]:
                self.record_validation(self.generation, Validation(*state["validations"][self.generation]), self.mean)
            self.search.ask()
            self.tell(returns.numpy(), tracks)
            self.history.append({**row, "validation_mean": None})
            self.env_steps = row["env_steps"]
        self.finished_pieces = {
            number: tuple(tensor.numpy() for tensor in result) for number, result in state["partial"].items()
        }
