"""Pictures of any type become frames of uint8."""

import gymnasium as gym
import numpy as np
import pytest

from worldmodels.envs.pictures import PictureError, Pictures


def test_range_of_floats_is_decided_once():
    pictures, black = Pictures(None), np.zeros((4, 4))
    assert pictures.read(black).max() == 0  # which tells nothing
    assert pictures.read(black + 0.5).max() == 128
    assert pictures.read(black + 0.01).max() == 3
    with pytest.raises(PictureError, match="floats from 0 to 1"):
        pictures.read(black + 100)
    pictures = Pictures(None)
    assert pictures.read(black + 200).max() == 200 and pictures.read(black + 0.6).max() == 1


@pytest.mark.parametrize("space, value, expected", [
    (gym.spaces.Box(0, 1, (4, 4, 3), np.float32), 0.2, 51),
    (gym.spaces.Box(0, 255, (4, 4, 3), np.float32), 0.6, 1),
    (gym.spaces.Box(0, 255, (4, 4, 3), np.uint8), 0.2, 51),
    (gym.spaces.Box(0, 1, (4, 4), np.uint8), 1, 255),
])  # fmt: skip
def test_observations_are_converted_by_the_bounds_of_their_space(space, value, expected):
    kind = space.dtype if isinstance(value, int) else np.float32
    assert Pictures(space).read(np.full(space.shape, value, kind)).max() == expected
