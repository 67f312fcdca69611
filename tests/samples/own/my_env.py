"""An environment of black pictures."""

import gymnasium as gym
import numpy as np


class Ball(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (32, 32, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)


gym.register("Ball-v0", Ball, max_episode_steps=30)
