"""The seeds of a run. Each follows from the run's seed, a purpose and an index.

No seed depends on a worker, a shard or the order of events, so a run draws the same numbers on any number of cores.
"""

import zlib

import numpy as np

# The tracks of the four purposes have seeds in disjoint ranges of this width. So a controller is never validated or
# tested on a track of its training.
RANGE_WIDTH = 2**29
RANGE_NUMBERS = {"rollouts": 0, "training": 1, "validation": 2, "evaluation": 3}


def seed_sequence(seed: int, purpose: str, *index: int) -> np.random.SeedSequence:
    """Return numpy's seed for this purpose and index, independent of all others."""
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *index])


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return a numpy generator for this purpose and index, independent of all others."""
    return np.random.Generator(np.random.PCG64(seed_sequence(seed, purpose, *index)))


def integer_seed(seed: int, purpose: str, *index: int) -> int:
    """Return a seed in [0, 2**29) for this purpose and index, for libraries that take an integer."""
    return int(seed_sequence(seed, purpose, *index).generate_state(1)[0] % RANGE_WIDTH)


def track_seed(seed: int, purpose: str, *index: int) -> int:
    """Return the environment seed of an episode.

    Args:
        seed: of the run.
        purpose: `rollouts`, `training` or `validation`. The seed lies in the range of this purpose.
        index: of the episode.
    """
    return RANGE_NUMBERS[purpose] * RANGE_WIDTH + integer_seed(seed, f"track/{purpose}", *index)


def evaluation_seeds(num_episodes: int) -> list[int]:
    """Return the held-out seeds of the official test. They are the same in every run, so scores can be compared."""
    first = RANGE_NUMBERS["evaluation"] * RANGE_WIDTH
    return list(range(first, first + num_episodes))
