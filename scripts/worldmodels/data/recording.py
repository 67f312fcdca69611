"""Episodes are played by drivers and recorded, many lanes side by side."""

from collections.abc import Iterator

import numpy as np

from worldmodels.data.policies import Driver
from worldmodels.envs.lanes import EnvPoolLanes, GymnasiumLanes


class Recording:
    """The rows of an episode that is being played.

    Args:
        seed: of the episode.
        steps: length of the longest episode.
        frame_shape: (H, W, C).
    """

    def __init__(self, seed: int, steps: int, frame_shape: tuple[int, ...]) -> None:
        self.seed = seed
        self.observations = np.empty((steps, *frame_shape), np.uint8)
        self.actions: list[np.ndarray] = []
        self.rewards, self.terminals = np.zeros(steps, np.float32), np.zeros(steps, np.float32)

    def add_action(self, frame: np.ndarray, action: np.ndarray) -> None:
        """Begin a row with the frame (H, W, C) seen and the encoded action (A,) taken."""
        self.observations[len(self.actions)] = frame
        self.actions.append(action)

    def add_result(self, reward: float, terminated: bool) -> None:
        """Complete the row with the reward and the terminal that followed."""
        row = len(self.actions) - 1
        self.rewards[row], self.terminals[row] = reward, terminated

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of the episode's rollout file."""
        length = len(self.actions)
        return {
            "observations": self.observations[:length],
            "actions": np.stack(self.actions),
            "rewards": self.rewards[:length],
            "terminals": self.terminals[:length],
            "seed": np.int64(self.seed),
        }


def record_episodes(
    lanes: GymnasiumLanes | EnvPoolLanes, drivers: list[Driver], steps: int
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Play one episode per lane, and close the lanes.

    Args:
        lanes: to play in.
        drivers: one per lane.
        steps: after which an episode is cut. That is no terminal.

    Yields:
        The lane and the arrays of each episode when it ends, see `Recording`.
    """
    try:
        frames = lanes.reset()
        alive = np.arange(len(lanes.seeds))
        recordings = {lane: Recording(seed, steps, frames.shape[1:]) for lane, seed in enumerate(lanes.seeds)}
        for step in range(steps):
            actions = [drivers[lane].act(step, frame) for lane, frame in zip(alive, frames)]
            for lane, frame, action in zip(alive, frames, actions):
                recordings[lane].add_action(frame, action)
            frames, rewards, terminated, truncated = lanes.step(alive, np.stack(actions))
            for lane, reward, terminal in zip(alive, rewards, terminated):
                recordings[lane].add_result(reward, terminal)
            over = terminated | truncated | (step + 1 == steps)
            for lane in alive[over]:
                yield lane, recordings.pop(lane).arrays()
            alive, frames = alive[~over], frames[~over]
            if not len(alive):
                break
    finally:
        lanes.close()
