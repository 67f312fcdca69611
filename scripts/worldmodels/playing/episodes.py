"""Episodes of the agent, played side by side as one batch."""

from functools import partial

import numpy as np
import torch

from worldmodels.envs.lanes import EnvPoolLanes, GymnasiumLanes
from worldmodels.models.encoding import encode
from worldmodels.models.mdrnn import MDRNNCell
from worldmodels.playing.agent import Policy, WorldModel
from worldmodels.playing.graphed_function import GraphedFunction

ALL_ROWS = slice(None)


class EpisodeScores:
    """Returns and lengths of the episodes that are being played, one per lane.

    Args:
        count: number of lanes, B.
        time_limit: steps after which an episode is cut.
        stall_limit: steps without a positive reward after which an episode is cut; 0: never.

    Attributes:
        returns: (B,) float64, the sum of rewards so far.
        lengths: (B,) int64, the steps so far.
        idle_steps, idle_rewards: (B,) steps since the last positive reward, and the sum of their rewards.
    """

    def __init__(self, count: int, time_limit: int, stall_limit: int) -> None:
        self.time_limit, self.stall_limit = time_limit, stall_limit
        self.returns, self.lengths = np.zeros(count), np.zeros(count, np.int64)
        self.idle_steps, self.idle_rewards = np.zeros(count, np.int64), np.zeros(count)

    def add_step(self, lanes: np.ndarray, rewards: np.ndarray) -> None:
        """Add one step of these lanes (k,) with its rewards (k,)."""
        self.returns[lanes] += rewards
        self.lengths[lanes] += 1
        idle = rewards <= 0
        self.idle_steps[lanes] = np.where(idle, self.idle_steps[lanes] + 1, 0)
        self.idle_rewards[lanes] = np.where(idle, self.idle_rewards[lanes] + rewards, 0.0)

    def cut_episodes(self, lanes: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Return which episodes of these lanes are over: those that the environment or one of the limits ends.

        Args:
            lanes: (k,) that were stepped.
            ended: (k,) bool, whether the environment ended the episode.

        Returns:
            (k,) bool.
        """
        over = ended | (self.lengths[lanes] >= self.time_limit)
        if self.stall_limit:
            stalled = (self.idle_steps[lanes] >= self.stall_limit) & ~over
            self.charge_stall(lanes[stalled])
            over |= stalled
        return over

    def charge_stall(self, lanes: np.ndarray) -> None:
        """Extrapolate the returns of stalled lanes to the time limit, at the mean reward of their idle steps.

        Without this a candidate would gain by stalling early where each step costs something.
        """
        mean_rewards = self.idle_rewards[lanes] / self.idle_steps[lanes]
        self.returns[lanes] += mean_rewards * (self.time_limit - self.lengths[lanes])


class Batch:
    """What the networks see of the episodes that are being played: one row per episode.

    Args:
        cell: gives the first hidden state.
        lanes: (k,) in which the episodes begin.
        frames: (k, H, W, C) uint8, their first frames.
        width: rows of the batch, of which lane i has row i. 0: the alive lanes have rows in their order, no one else.

    Attributes:
        alive: (k,) lanes whose episodes are not over, ascending.
        frames: (rows, H, W, C) uint8. hidden: M's state, each tensor (rows, ...).
    """

    def __init__(self, cell: MDRNNCell, lanes: np.ndarray, frames: np.ndarray, width: int) -> None:
        self.alive, self.frames, self.has_fixed_rows = lanes, frames, bool(width)
        if self.has_fixed_rows:
            self.frames = np.zeros((width, *frames.shape[1:]), np.uint8)
            self.frames[lanes] = frames
        self.hidden = cell.get_init_hidden(len(self.frames))

    @property
    def rows(self) -> np.ndarray | slice:
        """The rows of the alive lanes."""
        return self.alive if self.has_fixed_rows else ALL_ROWS

    @property
    def lanes(self) -> np.ndarray | slice:
        """The lanes that have the rows, as a policy is told."""
        return ALL_ROWS if self.has_fixed_rows else self.alive

    def update(self, frames: np.ndarray, over: np.ndarray) -> None:
        """Take in the next frames (k, H, W, C) of the alive lanes, and drop the lanes whose episodes are over (k,)."""
        if self.has_fixed_rows:
            self.frames[self.alive] = frames
        else:
            self.frames = frames[~over]
            if over.any():
                self.hidden = [tensor[torch.from_numpy(~over)] for tensor in self.hidden]
        self.alive = self.alive[~over]


class BatchedAgent:
    """V, a policy and M as one function of a batch. A GPU replays it as a CUDA graph."""

    def __init__(self, world: WorldModel, policy: Policy, features: str) -> None:
        self.world, self.policy, self.features = world, policy, features
        self.graph: GraphedFunction | None = None
        if world.device.type == "cuda" and world.capturable:
            self.graph = GraphedFunction(partial(self.decide, ALL_ROWS), world.device)

    def act(self, batch: Batch) -> np.ndarray:
        """Return the encoded actions (k, A) of the alive lanes, and take M's next hidden state into the batch."""
        decide = self.graph or partial(self.decide, batch.lanes)
        actions, *batch.hidden = decide(torch.from_numpy(batch.frames), *batch.hidden)
        return actions.cpu().numpy()[batch.rows]

    def decide(
        self, lanes: np.ndarray | slice, frames: torch.Tensor, *hidden: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return the actions (rows, A) and M's next hidden state. Without h and c in the features M is not run."""
        z, _ = encode(self.world.vae, frames)
        actions = self.policy(lanes, **self.world.features(self.features, z, hidden))
        if self.features == "z":
            return actions, *hidden
        return actions, *self.world.cell.next_hidden(actions, z, hidden)

    def note_capture(self) -> None:
        """Keep in the world model whether the capture failed: torch never frees the memory of a failed one."""
        if self.graph:
            self.world.capturable = self.graph.capturable


@torch.inference_mode()
def play_episodes(
    world: WorldModel,
    lanes: GymnasiumLanes | EnvPoolLanes,
    policy: Policy,
    time_limit: int = 0,
    stall_limit: int = 0,
    features: str = "zh",
    width: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Play one episode per lane, one group of lanes after another. An ended episode leaves the batch.

    z is V's mean, without noise, so an episode is a function of its seed and the weights.

    Args:
        world: V and M.
        lanes: of the environment, with the episodes' seeds.
        policy: policy(lanes, z=..., h=...) -> encoded actions (k, A). The features come by name: z (k, n), h and c
            (k, H). `lanes` are the alive ones (k,), or slice(None) where each lane keeps its row: with a width, and on
            a GPU. A GPU calls the policy only to capture it, so it must be a function of its arguments alone.
        time_limit: steps of the longest episode; 0: as the environment has it.
        stall_limit: ends an episode after this many steps without a positive reward. Its return is extrapolated to the
            time limit at the mean reward of those steps. 0: never.
        features: which tensors the policy gets, see ctrl.features.
        width: rows of every batch, where each lane keeps its own row. The last bits of an episode depend on the size of
            the batch. A fixed width makes them independent of how many other episodes are still played. 0: a row per
            alive lane. On a GPU, which replays batches of one size, 0 means a row per lane.

    Returns:
        returns (B,) float64 and lengths (B,) int64.
    """
    groups = lanes.prepare_groups()
    count = sum(len(group) for group in groups)
    if world.device.type == "cuda" and not width:
        width = count
    scores = EpisodeScores(count, min(time_limit or lanes.time_limit, lanes.time_limit), stall_limit)
    agent = BatchedAgent(world, policy, features)
    for group in groups:
        batch = Batch(world.cell, group, lanes.reset(group), width)
        while len(batch.alive):
            frames, rewards, terminated, truncated = lanes.step(batch.alive, agent.act(batch))
            scores.add_step(batch.alive, rewards)
            batch.update(frames, scores.cut_episodes(batch.alive, terminated | truncated))
    agent.note_capture()
    return scores.returns, scores.lengths
