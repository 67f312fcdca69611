"""Episodes of the official test played again, with everything there is to see of them."""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch

from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import GymnasiumLanes
from worldmodels.models.encoding import encode
from worldmodels.playing.agent import WorldModel
from worldmodels.playing.dreams import dream
from worldmodels.playing.evaluation import AgentPlayer


@dataclass
class Replay:
    """An episode of T steps.

    frames: (T,H,W,C) uint8, what V saw. latents: (T,n), V's means. actions: (T,A). rewards: (T,).
    path: (T,3), the car's x and y, metres, and speed, m/s. track: (N,4), x and y of the road's left and of its right
    border, metres. Both empty in an environment without a car on a track.
    """

    seed: int
    frames: np.ndarray
    latents: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    path: np.ndarray
    track: np.ndarray


class WatchedLane(GymnasiumLanes):
    """One episode that is written down while it is played."""

    def __init__(self, instances: Instances, seed: int) -> None:
        super().__init__(instances.config, [seed], instances)
        self.frames: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.path: list[tuple[float, float, float]] = []

    def look(self, frames: np.ndarray) -> np.ndarray:
        self.frames.append(frames[0])
        car = getattr(self.environment, "car", None)
        if car is not None and hasattr(car, "hull"):  # CarRacing, whose units are metres and seconds
            (x, y), (vx, vy) = car.hull.position, car.hull.linearVelocity
            self.path.append((x, y, float(np.hypot(vx, vy))))
        return frames

    def reset(self, lanes: np.ndarray | None = None) -> np.ndarray:
        return self.look(super().reset(lanes))

    @property
    def environment(self) -> gym.Env:
        return self.playing[0].env.unwrapped

    def step(self, lanes: np.ndarray, actions: np.ndarray):
        frames, rewards, *ends = super().step(lanes, actions)
        self.actions.append(actions[0])
        self.rewards.append(float(rewards[0]))
        return self.look(frames), rewards, *ends

    @property
    def track(self) -> np.ndarray:
        if not self.path:
            return np.empty((0, 4), np.float32)
        from gymnasium.envs.box2d.car_racing import TRACK_WIDTH

        _, beta, x, y = np.array(self.environment.track).T
        across = TRACK_WIDTH * np.cos(beta), TRACK_WIDTH * np.sin(beta)
        return np.stack([x - across[0], y - across[1], x + across[0], y + across[1]], axis=1).astype(np.float32)


def replay_episode(player: AgentPlayer, seed: int) -> Replay:
    """Play the test's episode of this seed again and record it."""
    lane = WatchedLane(player.instances, seed)
    player.play_lanes(lane)
    frames = np.stack(lane.frames[:-1])  # the last frame is seen by nobody
    latents = torch.cat([encode(player.world.vae, part)[0] for part in torch.from_numpy(frames).split(256)])
    return Replay(
        seed,
        frames,
        latents.cpu().numpy(),
        np.stack(lane.actions),
        np.array(lane.rewards, np.float32),
        np.array(lane.path[:-1], np.float32).reshape(-1, 3),
        lane.track,
    )


@torch.inference_mode()
def dream_along(world: WorldModel, latents: torch.Tensor, actions: torch.Tensor, stretch: int, seed: int):
    """What M dreams under an episode's actions if it is woken, shown the true frames, every `stretch` steps.

    Args:
        latents: (T,n). actions: (T,A).

    Returns:
        latents (T,n); those at 0, stretch, 2 stretch, ... are the true ones.
    """
    generator = torch.Generator().manual_seed(seed)
    hidden, dreamt = world.cell.get_init_hidden(1), []
    for start in range(0, len(latents), stretch):
        z, taken = latents[start : start + stretch], actions[start : start + stretch]
        dreamt.append(z[:1])
        steps = dream(
            world.cell, z[:1], hidden, lambda k, *_, taken=taken: taken[k : k + 1], len(z) - 1, 1.0, generator
        )
        dreamt += [step.latent for step in steps]
        for t in range(len(z)):
            hidden = world.cell.next_hidden(taken[t : t + 1], z[t : t + 1], hidden)
    return torch.cat(dreamt)
