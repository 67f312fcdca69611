"""Rollouts and latents whose every value tells its episode and row."""

import numpy as np
import pytest

from helpers.files import LENGTHS, numbered
from worldmodels.storage.npz import write_npz


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("numbered")
    for number, steps in enumerate(LENGTHS):
        write_npz(folder / f"{number}.npz", numbered(number, steps))
    return [str(folder / f"{number}.npz") for number in range(len(LENGTHS))]


@pytest.fixture(scope="module")
def latents(tmp_path_factory) -> str:
    """Latents without noise whose every value tells its episode and row."""
    path = tmp_path_factory.mktemp("latents") / "latents_4.npz"
    episodes = [numbered(number, steps) for number, steps in enumerate(LENGTHS)]
    arrays = {key: np.concatenate([e[key] for e in episodes]) for key in ("actions", "rewards", "terminals")}
    codes = np.repeat(arrays["rewards"][:, None], 4, axis=1)
    offsets = np.cumsum([0, *LENGTHS[:-1]])
    noise = np.full_like(codes, -1000.0)
    write_npz(path, {"latents": codes, "logsigmas": noise, "offsets": offsets, **arrays})
    return str(path)
