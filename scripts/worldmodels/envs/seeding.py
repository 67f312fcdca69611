"""Every random number of a run, from its identity: the run's seed, the purpose and the index.

Nothing is seeded by a worker, a shard or an order of events, so any number of cores gives the same numbers.
"""

import zlib

import numpy as np

# Environment seeds of the four purposes lie in disjoint ranges of this width: a controller is never
# validated or tested on a track it was trained on.
RANGE_WIDTH = 2**29
RANGE_NUMBERS = {"rollouts": 0, "training": 1, "validation": 2, "evaluation": 3}


def seed_sequence(seed: int, purpose: str, *index: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *index])


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A numpy generator for this purpose and index, independent of all others."""
    return np.random.Generator(np.random.PCG64(seed_sequence(seed, purpose, *index)))


def integer_seed(seed: int, purpose: str, *index: int) -> int:
    """A seed in [0, 2**29) for libraries that want an integer."""
    return int(seed_sequence(seed, purpose, *index).generate_state(1)[0] % RANGE_WIDTH)


def track_seed(seed: int, purpose: str, *index: int) -> int:
    """The environment seed of an episode of `rollouts`, `training` or `validation`, in that purpose's range."""
    return RANGE_NUMBERS[purpose] * RANGE_WIDTH + integer_seed(seed, f"track/{purpose}", *index)


def evaluation_seeds(num_episodes: int) -> list[int]:
    """The held-out seeds of the official test: the same for every run, so that scores can be compared."""
    first = RANGE_NUMBERS["evaluation"] * RANGE_WIDTH
    return list(range(first, first + num_episodes))
