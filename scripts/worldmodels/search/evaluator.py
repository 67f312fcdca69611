"""Fitness of many controllers at once, in worker processes."""

import math
from concurrent.futures import Executor, Future
from typing import Protocol

import numpy as np

from worldmodels.playing.workers import Player, run_with_player
from worldmodels.runtime.config import WMControllerConfig

Result = tuple[np.ndarray, np.ndarray]  # returns (B,), lengths (B,)


class CandidatePlayer(Player, Protocol):
    """A worker's player that evaluates candidates, in the environment or in M's dreams."""

    def evaluate(self, parameters: np.ndarray, seeds: list[int]) -> Result:
        """Return the result of one episode per candidate: parameters (B, P), and seeds (B,) of the episodes."""


def evaluate(player: CandidatePlayer, parameters: np.ndarray, seeds: list[int]) -> Result:
    """Return player.evaluate(parameters, seeds)."""
    return player.evaluate(parameters, seeds)


def share_cores(cores: int, config: WMControllerConfig) -> tuple[int, int]:
    """Share the cores among worker processes and their threads.

    Returns:
        The number of worker processes, at most one per piece of a generation, and the number of threads in each that
        step EnvPool's environments.
    """
    cores = min(cores, config.max_workers)
    grown = config.max_env_steps // config.sample_growth if config.sample_growth else 0
    pieces = math.ceil(config.pop_size * (config.n_samples + grown) / config.lanes)
    count = max(1, min(cores, pieces))
    return count, max(1, cores // count)


class Evaluator:
    """Splits episodes into pieces of `lanes`, whatever the number of workers: so it never shows in a result."""

    def __init__(self, pool: Executor, lanes: int) -> None:
        self.pool, self.lanes = pool, lanes

    def submit(self, parameters: np.ndarray, seeds: list[int], known: dict[int, Result] | None = None) -> list[Future]:
        """Start an episode of each of the controllers (B,P) on its seed: the pieces, in order.

        Args:
            known: results of pieces, by number, that need not be played again.
        """
        jobs = []
        for number, i in enumerate(range(0, len(seeds), self.lanes)):
            piece = slice(i, i + self.lanes)
            if known and number in known:
                jobs.append(Future())
                jobs[-1].set_result(known[number])
            else:
                jobs.append(self.pool.submit(run_with_player, evaluate, parameters[piece], seeds[piece]))
        return jobs

    @staticmethod
    def collect(jobs: list[Future]) -> Result:
        """Return the results of the jobs in their order, once all jobs have ended."""
        returns, lengths = zip(*(job.result() for job in jobs))
        return np.concatenate(returns), np.concatenate(lengths)
