"""Policies that collect rollouts: random ones, whose actions are planned in advance, and an earlier run's agent."""

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
    """Return `steps` actions (steps, A) that are uniform and independent: action_space.sample()."""
    codec.space.seed(int(rng.integers(2**31)))
    return np.stack([codec.encode(codec.space.sample()) for _ in range(steps)])


def brownian_actions(codec: ActionCodec, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig) -> np.ndarray:
    """Return a random walk (steps, A) within the bounds, from their center; a step is about a tenth of the range."""
    position, walk = np.zeros(codec.size), np.empty((steps, codec.size))
    for t, step in enumerate(rng.normal(0.0, 0.2, walk.shape)):
        position = np.clip(position + step, -1.0, 1.0)
        walk[t] = position
    return codec.center + codec.half_range * walk


def ou_actions(codec: ActionCodec, steps: int, rng: np.random.Generator, rollouts: RolloutsConfig) -> np.ndarray:
    """Return Ornstein-Uhlenbeck noise (steps, A), which is smooth and biased toward ou_mean.

    The mean of an episode is drawn half a standard deviation around ou_mean, so that some episodes are slow and some
    are fast.
    """
    mean = per_action(rollouts.ou_mean, codec.center, "rollouts.ou_mean")
    sigma = per_action(rollouts.ou_sigma, codec.half_range / 2, "rollouts.ou_sigma")
    mean = mean + 0.5 * sigma * rng.normal(size=mean.shape)
    return mean + sigma * walk_noise(rng, steps, len(mean), rollouts.ou_theta)


def walk_noise(rng: np.random.Generator, steps: int, size: int, theta: float) -> np.ndarray:
    """Return Ornstein-Uhlenbeck noise (steps, size) around 0 with standard deviation 1.

    Args:
        rng: of the noise.
        steps: length of the walk.
        size: numbers per step.
        theta: share of the distance from 0 that decays per step.
    """
    keep = 1.0 - theta
    position, walk = rng.normal(size=size), np.empty((steps, size))
    for t, noise in enumerate(rng.normal(0.0, np.sqrt(1.0 - keep**2), walk.shape)):
        position = keep * position + noise
        walk[t] = position
    return walk


def check_noise(rollouts: RolloutsConfig, codec: ActionCodec) -> None:
    """Raise UserError if ou_mean or ou_sigma does not suit the actions, before the first episode is played."""
    per_action(rollouts.ou_mean, codec.center, "rollouts.ou_mean")
    per_action(rollouts.ou_sigma, codec.half_range, "rollouts.ou_sigma")


def per_action(values: list[float], default: np.ndarray, key: str) -> np.ndarray:
    """Return a setting's values as (A,) float64, or the default (A,) if the setting is empty.

    Raises:
        UserError: the setting `key` has another number of values.
    """
    if values and len(values) != len(default):
        raise UserError(f"{key}: expected {len(default)} numbers, one an action, or none, found {len(values)}")
    return np.array(values) if values else default.astype(float)


POLICIES: dict[str, Callable[..., np.ndarray]] = {
    "random": random_actions,
    "brownian": brownian_actions,
    "ou": ou_actions,
}


def draw_policy(rollouts: RolloutsConfig, rng: np.random.Generator) -> str:
    """Draw the name of an episode's policy."""
    if rollouts.policy != "mixture":
        return rollouts.policy
    weights = {name: weight for name, weight in sorted(rollouts.mixture.items()) if weight}
    return str(rng.choice(list(weights), p=np.array(list(weights.values())) / sum(weights.values())))


def plan_actions(space: gym.Space, rollouts: RolloutsConfig, seed: int, episode: int) -> np.ndarray:
    """Return all actions of an episode under a random policy.

    Args:
        space: of the actions.
        rollouts: the settings of the rollouts.
        seed: of the run.
        episode: number of the episode.

    Returns:
        (seq_len, A) float32, encoded, see ActionCodec.
    """
    rng, codec = seeding.generator(seed, "rollouts/actions", episode), ActionCodec(space)
    actions = POLICIES[draw_policy(rollouts, rng)](codec, rollouts.seq_len, rng, rollouts)
    return codec.snap(torch.from_numpy(actions)).float().numpy()


class Driver(Protocol):
    """Chooses the actions of an episode."""

    def act(self, step: int, frame: np.ndarray) -> np.ndarray:
        """Return the encoded action (A,) float32 on seeing this frame (H, W, C) uint8."""


class PlannedDriver:
    """Drives by a plan, the encoded actions (seq_len, A), and does not see the frames."""

    def __init__(self, actions: np.ndarray) -> None:
        self.actions = actions

    def act(self, step: int, frame: np.ndarray) -> np.ndarray:
        """Return the planned action (A,) of this step."""
        return self.actions[step]


class Agent(Protocol):
    """An earlier run's agent; see agent_policy.EarlierAgent.

    Attributes:
        record: goes into the summary of each shard: which agent it is, and the environment steps of its training.
    """

    record: dict

    def driver(self, space: gym.Space, noise: np.ndarray) -> Driver:
        """Return the driver of one episode, whose actions get this noise (seq_len, A) added."""


def make_driver(space: gym.Space, rollouts: RolloutsConfig, seed: int, episode: int, agent: Agent | None) -> Driver:
    """Return the driver of an episode.

    The agent's actions get Ornstein-Uhlenbeck noise around 0. Its sigma is ou_sigma times a factor that is drawn for
    the episode from 0 to agent_noise. So some episodes are clean, and others get into trouble, which V and M must see
    too.

    Args:
        space: of the actions.
        rollouts: the settings of the rollouts.
        seed: of the run.
        episode: number of the episode.
        agent: an earlier run's agent, if there is one.

    Raises:
        UserError: the episode's policy is `agent`, and there is none.
    """
    rng = seeding.generator(seed, "rollouts/actions", episode)
    if draw_policy(rollouts, rng) != "agent":
        return PlannedDriver(plan_actions(space, rollouts, seed, episode))
    if agent is None:
        raise UserError("rollouts.agent: expected the logdir of an earlier run, whose agent is to drive, found none")
    sigma = per_action(rollouts.ou_sigma, ActionCodec(space).half_range / 2, "rollouts.ou_sigma")
    noise = walk_noise(rng, rollouts.seq_len, len(sigma), rollouts.ou_theta)
    return agent.driver(space, rng.uniform(0, rollouts.agent_noise) * sigma * noise)
