"""An environment whose answers a test changes: the arguments are code for each method's result."""

import sys

import gymnasium as gym
import numpy as np

STARTS, CLOSES = [], []


class Dot(gym.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, render_mode=None, **changes):
        self.render_mode = render_mode
        self.changes = changes
        STARTS.append(self)
        if "init" in changes:
            exec(changes["init"])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = int(self.np_random.integers(8, 24)), 0
        return self.give("reset", (np.array([self.x / 32], np.float32), {}))

    def step(self, action):
        self.t += 1
        self.x = int(np.clip(self.x + int(action) - 1, 4, 28))
        given = self.give("step", (np.array([self.x / 32], np.float32), -abs(self.x - 16) / 16, False, False, {}))
        return (given[0], self.give("reward", given[1]), *given[2:]) if "reward" in self.changes else given

    def render(self):
        picture = np.zeros((32, 32, 3), np.uint8)
        picture[12:20, self.x - 4 : self.x + 4] = (255, 160, 60)
        return self.give("render", picture)

    def close(self):
        CLOSES.append(self)
        self.give("close", None)

    def give(self, name, value):
        if name not in self.changes:
            return value
        scope = {"value": value, "self": self, "np": np, "sys": sys}
        if "\n" in self.changes[name] or self.changes[name].startswith("raise"):
            exec(self.changes[name], scope)
        return eval(self.changes[name], scope)


class Slider(Dot):
    action_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)

    def step(self, action):
        self.given = float(action.astype(np.float64).sum())
        return super().step(np.sign(action[0]) + 1)


gym.register("Slider-v0", Slider, max_episode_steps=20)
gym.register("Dot-v0", Dot, max_episode_steps=20)
gym.register(
    "Board-v0",
    type("Board", (Dot,), {"observation_space": gym.spaces.Box(0, 2, (8, 8), np.uint8)}),
    max_episode_steps=20,
)
