"""The tracks, which are environment seeds, that the candidates of each generation meet."""

import numpy as np

from worldmodels.envs import seeding
from worldmodels.runtime.config import WMControllerConfig

REMEMBERED_TRACKS = 40  # common tracks that hard ones are drawn from


class TrackSampler:
    """Draws the tracks of each generation, and remembers how the candidates did on common tracks.

    Attributes:
        mean_returns: common track -> mean return of the candidates that met it last; the latest track is the last.

    Args:
        seed: of the run.
    """

    def __init__(self, config: WMControllerConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.mean_returns: dict[int, float] = {}

    def sample(self, generation: int, episodes: int) -> list[int]:
        """Return the tracks of all episodes of a generation, candidate by candidate.

        Args:
            generation: its number, from 1 on.
            episodes: per candidate.
        """
        if not self.config.common_tracks:
            candidates = range(self.config.pop_size)
            return [track for candidate in candidates for track in self.fresh(generation, candidate, episodes)]
        hard = self.sample_hard(generation, int(self.config.hard_share * episodes))
        return [*hard, *self.fresh(generation, 0, episodes)[len(hard) :]] * self.config.pop_size

    def fresh(self, generation: int, candidate: int, episodes: int) -> list[int]:
        """Return new tracks. Candidate 0 has the common tracks."""
        return [
            seeding.track_seed(self.seed, "training", generation, candidate, episode) for episode in range(episodes)
        ]

    def sample_hard(self, generation: int, count: int) -> list[int]:
        """Draw at most `count` of the last common tracks, with a probability proportional to the return lost there.

        A few tracks in a hundred decide the score late in training. Fresh tracks alone seldom show them (as in
        prioritized level replay, Jiang et al., 2021).
        """
        tracks = list(self.mean_returns)[-REMEMBERED_TRACKS:]
        means = np.array([self.mean_returns[track] for track in tracks])
        lost = means.max(initial=-np.inf) - means
        count = min(count, np.count_nonzero(lost))
        if not count:
            return []
        rng = seeding.generator(self.seed, "ctrl/hard", generation)
        return rng.choice(tracks, count, replace=False, p=lost / lost.sum()).tolist()

    def record(self, tracks: list[int], returns: np.ndarray) -> None:
        """Remember the mean return on each common track.

        Args:
            tracks: of the episodes of a candidate, in their order; more tracks are ignored.
            returns: (pop_size, episodes per candidate).
        """
        if not self.config.common_tracks:
            return
        for track, mean in zip(tracks, returns.mean(axis=0).tolist()):
            self.mean_returns.pop(track, None)
            self.mean_returns[track] = mean

    def validation_seeds(self) -> list[int]:
        """Return the tracks of a validation, which are always the same."""
        return [seeding.track_seed(self.seed, "validation", i) for i in range(self.config.validation_episodes)]
