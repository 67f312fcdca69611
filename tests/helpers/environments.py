"""Environments of the tests."""

import gymnasium as gym
import numpy as np

from worldmodels.runtime.config import EnvConfig

# The actions of CarRacing-v3.
SPACE = gym.spaces.Box(np.array([-1.0, 0.0, 0.0], np.float32), np.ones(3, np.float32))


def arena(actions: str = "discrete", **more) -> EnvConfig:
    return EnvConfig(id="Arena-v0", import_="arena", kwargs={"actions": actions}, **more)


def dot(name: str = "Dot-v0", **changes) -> EnvConfig:
    return EnvConfig(id=name, import_="my_dots", height=32, width=32, kwargs=changes, reuse="always")
