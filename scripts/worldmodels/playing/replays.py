"""Episodes of the official test, played again and recorded."""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch

from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import GymnasiumLanes, Steps
from worldmodels.models.encoding import encode
from worldmodels.models.mdrnn import Hidden
from worldmodels.playing.agent import WorldModel
from worldmodels.playing.dreams import dream
from worldmodels.playing.evaluation import AgentPlayer


@dataclass
class Replay:
    """The record of an episode of T steps.

    Attributes:
        seed: of the episode.
        frames: (T, H, W, C) uint8, which V saw.
        latents: (T, n) float32, V's means.
        actions: (T, A) float32, encoded.
        rewards: (T,) float32.
        path: (T, 3) float32, the car's x and y in meters and its speed in m/s. Empty in environments without a car.
        track: (N, 4) float32, x and y of the road's left border and of its right border, meters. Empty without a car.
    """

    seed: int
    frames: np.ndarray
    latents: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    path: np.ndarray
    track: np.ndarray


class RecordedLane(GymnasiumLanes):
    """A single lane that records its episode.

    Attributes:
        frames, actions, rewards: of the steps so far, and the frame after the last one.
        path: x, y and speed of the car in each frame, see Replay.
    """

    def __init__(self, instances: Instances, seed: int) -> None:
        super().__init__(instances.config, [seed], instances)
        self.frames: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.path: list[tuple[float, float, float]] = []

    def reset(self, lanes: np.ndarray | None = None) -> np.ndarray:
        """Start the episode, and record its first frame."""
        frames = super().reset(lanes)
        self.record_state(frames[0])
        return frames

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> Steps:
        """Step the episode, and record the action, the reward and the next frame."""
        frames, rewards, *ends = super().step(lanes, actions)
        self.actions.append(actions[0])
        self.rewards.append(float(rewards[0]))
        self.record_state(frames[0])
        return frames, rewards, *ends

    def record_state(self, frame: np.ndarray) -> None:
        """Record a frame and, in CarRacing, where the car is."""
        self.frames.append(frame)
        car = getattr(self.env, "car", None)
        if car is not None and hasattr(car, "hull"):  # CarRacing, whose units are meters and seconds
            (x, y), (vx, vy) = car.hull.position, car.hull.linearVelocity
            self.path.append((x, y, float(np.hypot(vx, vy))))

    @property
    def env(self) -> gym.Env:
        """The environment that is played in."""
        return self.playing[0].env.unwrapped

    @property
    def track(self) -> np.ndarray:
        """The borders of the road, see Replay."""
        if not self.path:
            return np.empty((0, 4), np.float32)
        from gymnasium.envs.box2d.car_racing import TRACK_WIDTH

        _, beta, x, y = np.array(self.env.track).T
        across_x, across_y = TRACK_WIDTH * np.cos(beta), TRACK_WIDTH * np.sin(beta)
        borders = [x - across_x, y - across_y, x + across_x, y + across_y]
        return np.stack(borders, axis=1).astype(np.float32)


def replay_episode(player: AgentPlayer, seed: int) -> Replay:
    """Play the test's episode of this seed again, and record it."""
    lane = RecordedLane(player.instances, seed)
    player.play_lanes(lane)
    frames = np.stack(lane.frames[:-1])  # the agent does not see the last frame
    latents = torch.cat([encode(player.world.vae, batch)[0] for batch in torch.from_numpy(frames).split(256)])
    return Replay(
        seed=seed,
        frames=frames,
        latents=latents.cpu().numpy(),
        actions=np.stack(lane.actions),
        rewards=np.array(lane.rewards, np.float32),
        path=np.array(lane.path[:-1], np.float32).reshape(-1, 3),
        track=lane.track,
    )


@torch.inference_mode()
def dream_along(
    world: WorldModel, latents: torch.Tensor, actions: torch.Tensor, stretch: int, seed: int
) -> torch.Tensor:
    """Let M dream under an episode's actions, and show it the true latent once per stretch.

    Args:
        world: V and M.
        latents: (T, n), true.
        actions: (T, A) of the episode.
        stretch: steps between two looks at the truth.
        seed: of the dreams' random numbers.

    Returns:
        Latents (T, n). Those at 0, stretch, 2 stretch, ... are true, the others dreamt.
    """
    generator = torch.Generator().manual_seed(seed)
    hidden, dreamt = world.cell.get_init_hidden(1), []
    for start in range(0, len(latents), stretch):
        true_latents, taken = latents[start : start + stretch], actions[start : start + stretch]
        dreamt.append(dream_stretch(world, true_latents, taken, hidden, generator))
        for z, action in zip(true_latents.split(1), taken.split(1)):
            hidden = world.cell.next_hidden(action, z, hidden)
    return torch.cat(dreamt)


def dream_stretch(
    world: WorldModel, latents: torch.Tensor, actions: torch.Tensor, hidden: Hidden, generator: torch.Generator
) -> torch.Tensor:
    """Return the first of the true latents (t, n) and, after it, what M dreams under the actions (t, A): (t, n)."""

    def policy(step: int, z: torch.Tensor, hidden: Hidden) -> torch.Tensor:
        return actions[step : step + 1]

    steps = dream(world.cell, latents[:1], hidden, policy, len(latents) - 1, 1.0, generator)
    return torch.cat([latents[:1], *(step.latent for step in steps)])
