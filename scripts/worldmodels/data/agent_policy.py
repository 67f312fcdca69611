"""Rollouts driven by the agent of an earlier run (paper, section 5: the iterative training procedure)."""

import gymnasium as gym
import numpy as np
import torch

from worldmodels.models.encoding import encode
from worldmodels.playing.agent import load_agent
from worldmodels.runtime.digests import file_digest


class EarlierAgent:
    """V, M and C of an earlier run.

    Args:
        logdir: of the earlier run.

    Attributes:
        record: the digest of C's file, and the environment steps that the agent's training took.

    Raises:
        UserError: a checkpoint is missing or damaged, or was not made with the models in the same run.
    """

    def __init__(self, logdir: str) -> None:
        torch.set_num_threads(1)  # more threads do not speed up batches of one frame
        self.world, self.controller, saved = load_agent(logdir, torch.device("cpu"))
        self.squash = saved["config"]["squash"]
        digest = file_digest(f"{logdir}/ctrl/best.tar")
        self.record = {"sha256": digest, "env_steps": sum(saved["env_steps"].values())}

    def driver(self, space: gym.Space, noise: np.ndarray) -> "AgentDriver":
        """Return the driver of one episode, whose actions get this noise (seq_len, A) added."""
        return AgentDriver(self, space, noise)


class AgentDriver:
    """Drives one episode with the agent.

    Frames are encoded one by one, so that the last bits do not depend on other episodes of a batch.
    """

    def __init__(self, agent: EarlierAgent, space: gym.Space, noise: np.ndarray) -> None:
        self.agent, self.noise = agent, noise
        self.squash = agent.world.squash(agent.squash, space)
        self.hidden = agent.world.cell.get_init_hidden(1)

    @torch.inference_mode()
    def act(self, step: int, frame: np.ndarray) -> np.ndarray:
        """Return the encoded action (A,) float32 on seeing this frame (H, W, C) uint8, with the step's noise."""
        world = self.agent.world
        z, _ = encode(world.vae, torch.from_numpy(frame[None]))
        controller = self.agent.controller
        clean = self.squash(controller(**world.features(controller.features, z, self.hidden))).numpy()
        action = self.squash.codec.snap(torch.from_numpy(clean + self.noise[step])).float()
        self.hidden = world.cell.next_hidden(action, z, self.hidden)
        return action[0].numpy()
