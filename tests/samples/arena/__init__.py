"""An image environment with any kind of actions, as a user's own package would register one: a dot seeks a cross."""

import gymnasium as gym
import numpy as np

HEIGHT, WIDTH = 40, 56
ACTIONS = {
    "box": gym.spaces.Box(-1.0, 1.0, (2, 1), np.float32),
    "discrete": gym.spaces.Discrete(5, start=-2),
    "multi_discrete": gym.spaces.MultiDiscrete([3, 3]),
    "multi_binary": gym.spaces.MultiBinary(4),
}


class Arena(gym.Env):
    """Observation: the picture (40, 56, 3) uint8, or (40, 56) in grey. Reward: minus the distance, 0 to -1."""

    metadata = {"render_modes": []}

    def __init__(self, actions: str = "discrete", colour: bool = True) -> None:
        self.action_space, self.colour = ACTIONS[actions], colour
        self.observation_space = gym.spaces.Box(0, 255, (HEIGHT, WIDTH, 3) if colour else (HEIGHT, WIDTH), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.dot, self.cross = self.np_random.uniform(0.1, 0.9, (2, 2))
        return self.picture(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.dot = np.clip(self.dot + 0.1 * self.direction(action), 0.1, 0.9)
        distance = float(np.abs(self.dot - self.cross).max())
        return self.picture(), -distance, distance < 0.05, False, {}

    def direction(self, action) -> np.ndarray:
        if isinstance(self.action_space, gym.spaces.Box):
            return action[:, 0]
        if isinstance(self.action_space, gym.spaces.Discrete):
            return np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]])[int(action) + 2]
        if isinstance(self.action_space, gym.spaces.MultiDiscrete):
            return action - 1
        return action[:2].astype(float) - action[2:]

    def picture(self) -> np.ndarray:
        result = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for place, size, colour in ((self.cross, 4, (255, 0, 0)), (self.dot, 3, (0, 255, 0))):
            row, column = (place * (HEIGHT, WIDTH)).astype(int)
            result[max(0, row - size) : row + size, max(0, column - size) : column + size] = colour
        return result if self.colour else result.max(-1)


gym.register("Arena-v0", Arena, max_episode_steps=30)
gym.register("Endless-v0", Arena)
