"""Policies that collect rollouts: random, planned ahead, or an earlier run's agent."""

from collections.abc import Callable
from typing import Protocol

import gymnasium as gym
import numpy as np
import torch

from worldmodels.envs import seeding
from worldmodels.envs.actions import ActionCodec
from worldmodels.runtime.config import RolloutsConfig
from worldmodels.runtime.errors import UserError


def random_actions(codec: ActionCodec, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig) -> np.ndarray:
    """Uniform and independent: action_space.sample()."""
    codec.space.seed(int(rng.integers(2**31)))
    return np.stack([codec.encode(codec.space.sample()) for _ in range(steps)])


def brownian_actions(codec: ActionCodec, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig) -> np.ndarray:
    """A random walk from the middle of the bounds, kept inside them; a step is a tenth of the range."""
    position, walk = np.zeros(codec.size), np.empty((steps, codec.size))
    for t, step in enumerate(rng.normal(0.0, 0.2, walk.shape)):
        position = np.clip(position + step, -1.0, 1.0)
        walk[t] = position
    return codec.center + codec.half_range * walk


def ou_actions(codec: ActionCodec, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig) -> np.ndarray:
    """Ornstein-Uhlenbeck noise: smooth, and biased towards ou_mean.

    Each episode's own mean is half a standard deviation off, so that some episodes are slow and some are fast.
    """
    mean = per_action(rollouts.ou_mean, codec.center, "rollouts.ou_mean")
    sigma = per_action(rollouts.ou_sigma, codec.half_range / 2, "rollouts.ou_sigma")
    mean = mean + 0.5 * sigma * rng.normal(size=mean.shape)
    return mean + sigma * walk_noise(rng, steps, len(mean), rollouts.ou_theta)


def walk_noise(rng: np.random.Generator, steps: int, size: int, theta: float) -> np.ndarray:
    """Ornstein-Uhlenbeck noise (steps, size) around 0 with standard deviation 1; theta is what a step forgets."""
    keep = 1.0 - theta
    position, walk = rng.normal(size=size), np.empty((steps, size))
    for t, noise in enumerate(rng.normal(0.0, np.sqrt(1.0 - keep**2), walk.shape)):
        position = keep * position + noise
        walk[t] = position
    return walk


def check_noise(rollouts: RolloutsConfig, codec: ActionCodec) -> None:
    """Raise UserError if ou_mean or ou_sigma does not suit the actions: not only at the first episode under ou."""
    per_action(rollouts.ou_mean, codec.center, "rollouts.ou_mean")
    per_action(rollouts.ou_sigma, codec.half_range, "rollouts.ou_sigma")


def per_action(values: list[float], default: np.ndarray, key: str) -> np.ndarray:
    if values and len(values) != len(default):
        raise UserError(f"{key}: expected {len(default)} numbers, one an action, or none, found {len(values)}")
    return np.array(values) if values else default.astype(float)


POLICIES: dict[str, Callable[..., np.ndarray]] = {
    "random": random_actions,
    "brownian": brownian_actions,
    "ou": ou_actions,
}


def draw_policy(rollouts: RolloutsConfig, rng: np.random.Generator) -> str:
    """The name of an episode's policy."""
    if rollouts.policy != "mixture":
        return rollouts.policy
    weights = {name: weight for name, weight in sorted(rollouts.mixture.items()) if weight}
    return str(rng.choice(list(weights), p=np.array(list(weights.values())) / sum(weights.values())))


def plan_actions(space: gym.Space, rollouts: RolloutsConfig, seed: int, episode: int) -> np.ndarray:
    """All actions of an episode under a policy that looks at nothing, (seq_len, A) float32, encoded: ActionCodec."""
    rng, codec = seeding.generator(seed, "rollouts/actions", episode), ActionCodec(space)
    actions = POLICIES[draw_policy(rollouts, rng)](codec, rollouts.seq_len, rng, rollouts)
    return codec.snap(torch.from_numpy(actions)).float().numpy()


class Driver(Protocol):
    """Who drives an episode."""

    def act(self, step: int, frame: np.ndarray) -> np.ndarray:
        """The encoded action (A,) float32 on seeing this frame (H,W,C) uint8."""


class PlannedDriver:
    """Drives by a plan, without looking."""

    def __init__(self, actions: np.ndarray) -> None:
        self.actions = actions

    def act(self, step: int, frame: np.ndarray) -> np.ndarray:
        return self.actions[step]


class Agent(Protocol):
    """An earlier run's agent; see on_policy.EarlierAgent."""

    record: dict  # what it is and how many environment steps it cost, for the shard's summary

    def driver(self, space: gym.Space, noise: np.ndarray) -> Driver:
        """One episode of it, with noise (seq_len, A) added to its actions."""


def make_driver(space: gym.Space, rollouts: RolloutsConfig, seed: int, episode: int, agent: Agent | None) -> Driver:
    """The driver of an episode.

    The agent's noise is Ornstein-Uhlenbeck noise around 0 with sigma ou_sigma times the episode's own share of
    agent_noise, so that some episodes are clean and others get into trouble, which V and M should know too.
    """
    rng = seeding.generator(seed, "rollouts/actions", episode)
    if draw_policy(rollouts, rng) != "agent":
        return PlannedDriver(plan_actions(space, rollouts, seed, episode))
    if agent is None:
        raise UserError("rollouts.agent: expected the logdir of an earlier run, whose agent is to drive, found none")
    sigma = per_action(rollouts.ou_sigma, ActionCodec(space).half_range / 2, "rollouts.ou_sigma")
    noise = walk_noise(rng, rollouts.seq_len, len(sigma), rollouts.ou_theta)
    return agent.driver(space, rng.uniform(0, rollouts.agent_noise) * sigma * noise)
