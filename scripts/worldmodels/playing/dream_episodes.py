"""Episodes in M's dreams, played side by side as one batch: C's world with ctrl.world: dream (paper, section 4).

A dream starts from a latent of a rollout's first frame. M predicts the next latent, the reward and the end of the
episode. A dream is a function of its seed, as an episode of the environment is.
"""

from typing import NamedTuple

import numpy as np
import torch

from worldmodels.playing.agent import Policy, WorldModel
from worldmodels.playing.dreams import choose_latent
from worldmodels.playing.graphed_function import GraphedFunction
from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import load_checkpoint

BLOCK = 16  # steps between two checks which dreams are over


class FirstLatents(NamedTuple):
    """V's codes of the first frames of E rollouts, where dreams start: mu and logsigma, (E, n) float32 each."""

    mu: torch.Tensor
    logsigma: torch.Tensor


def load_first_latents(path: str) -> FirstLatents:
    """Return where dreams start, from M's checkpoint.

    Raises:
        UserError: the checkpoint is missing, damaged or from an earlier version.
    """
    saved = load_checkpoint(path, ("state_dict", "config"))
    if "first_latents" not in saved:
        raise UserError(
            f"{path}: expected an M that says where dreams start, found one of an earlier version; train again"
        )
    return FirstLatents(**saved["first_latents"])


class DreamTrack:
    """The random numbers of one seed, drawn in the order of the steps.

    Args:
        seed: of the dream.
        latents: where dreams start.

    Attributes:
        first: (n,), where this dream starts: the latent of a random rollout, with V's noise.
    """

    def __init__(self, seed: int, latents: FirstLatents) -> None:
        self.random = np.random.Generator(np.random.PCG64(seed))
        rollout, size = int(self.random.integers(len(latents.mu))), latents.mu.shape[1]
        noise = torch.from_numpy(self.random.standard_normal(size, np.float32))
        self.first = latents.mu[rollout] + latents.logsigma[rollout].exp() * noise

    def next_block(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the random numbers of BLOCK steps: uniform (BLOCK, 2) and normal (BLOCK, n), float32."""
        uniform = self.random.random((BLOCK, 2), np.float32)
        return uniform, self.random.standard_normal((BLOCK, len(self.first)), np.float32)


class DreamTracks:
    """The random numbers of B dreams. Dreams with the same seed share them.

    Args:
        seeds: (B,) of the dreams.
        latents: where dreams start.
        device: of the tensors.

    Attributes:
        numbers: (B,) the number of each dream's track.
        first: (B, n), where the dreams start.
    """

    def __init__(self, seeds: list[int], latents: FirstLatents, device: torch.device) -> None:
        different_seeds, numbers = np.unique(seeds, return_inverse=True)
        self.device = device
        self.tracks = [DreamTrack(int(seed), latents) for seed in different_seeds]
        self.numbers = torch.from_numpy(numbers).to(device)
        self.first = torch.stack([track.first for track in self.tracks]).to(device)[self.numbers]

    def next_block(self) -> list[torch.Tensor]:
        """Return the random numbers of BLOCK steps of all tracks: uniform (BLOCK, S, 2) and normal (BLOCK, S, n)."""
        blocks = zip(*(track.next_block() for track in self.tracks))
        return [torch.from_numpy(np.stack(arrays, axis=1)).to(self.device) for arrays in blocks]


class DreamState(NamedTuple):
    """The state of B dreams.

    Attributes:
        rows: (B,) the numbers of the dreams, as the policy is told.
        tracks: (B,) the numbers of their tracks.
        latent: (B, n).
        returns: (B,) float64. lengths: (B,) int64.
        idle_steps: (B,) steps since the last positive reward. idle_rewards: (B,) float64, the sum of their rewards.
        running: (B,) bool. The other dreams are over, and their scores stay the same.
    """

    rows: torch.Tensor
    tracks: torch.Tensor
    latent: torch.Tensor
    returns: torch.Tensor
    lengths: torch.Tensor
    idle_steps: torch.Tensor
    idle_rewards: torch.Tensor
    running: torch.Tensor

    @classmethod
    def start(cls, tracks: DreamTracks) -> "DreamState":
        """Return the state before the first step."""
        zeros = torch.zeros_like(tracks.numbers)
        rows = torch.arange(len(zeros), device=zeros.device)
        return cls(rows, tracks.numbers, tracks.first, zeros.double(), zeros, zeros, zeros.double(), zeros == 0)


class Dreamer:
    """M and a policy as one function of the dreams' state. A GPU replays it as a CUDA graph.

    Args:
        world: V and M.
        policy, temperature, time_limit, stall_limit, features: see play_dreams.
    """

    def __init__(
        self, world: WorldModel, policy: Policy, temperature: float, time_limit: int, stall_limit: int, features: str
    ) -> None:
        self.world, self.policy, self.features = world, policy, features
        self.temperature, self.time_limit, self.stall_limit = temperature, time_limit, stall_limit
        self.graph: GraphedFunction | None = None
        if world.device.type == "cuda" and world.capturable:
            self.graph = GraphedFunction(self.step, world.device)

    def take_block(
        self, tracks: DreamTracks, state: DreamState, hidden: tuple[torch.Tensor, ...]
    ) -> tuple[DreamState, tuple[torch.Tensor, ...]]:
        """Take BLOCK steps, and return the dreams' state and M's hidden state after them."""
        step = self.graph or self.step
        for uniform, normal in zip(*tracks.next_block()):
            changed = step(uniform, normal, *state, *hidden)
            state, hidden = DreamState(*state[:2], *changed[:6]), changed[6:]
        return state, hidden

    def step(self, uniform: torch.Tensor, normal: torch.Tensor, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Take a step of all dreams.

        Args:
            uniform: (S, 2) of each track; the first number chooses the Gaussian, the second one the end.
            normal: (S, n) of each track.
            tensors: the fields of DreamState and M's hidden state.

        Returns:
            The fields of DreamState from the latent on, and M's hidden state.
        """
        rows, tracks, latent, returns, lengths, idle_steps, idle_rewards, running, *hidden = tensors
        action = self.policy(rows, **self.world.features(self.features, latent, tuple(hidden)))
        *mixture, reward, terminal, hidden = self.world.cell(action, latent, tuple(hidden))
        latent = choose_latent(*mixture, self.temperature, uniform[tracks, 0], normal[tracks])

        rewards = reward.double() * running
        returns, lengths = returns + rewards, lengths + running
        idle = rewards <= 0
        idle_steps = torch.where(idle, idle_steps + 1, 0)
        idle_rewards = torch.where(idle, idle_rewards + rewards, 0.0)
        ended = uniform[tracks, 1] < terminal.sigmoid()
        over = ended | (lengths >= self.time_limit)
        if self.stall_limit:
            stalled = running & ~over & (idle_steps >= self.stall_limit)
            lost = idle_rewards / idle_steps.clamp(min=1) * (self.time_limit - lengths)
            returns = returns + torch.where(stalled, lost, 0.0)
            over = over | stalled
        return latent, returns, lengths, idle_steps, idle_rewards, running & ~over, *hidden


@torch.inference_mode()
def play_dreams(
    world: WorldModel,
    latents: FirstLatents,
    seeds: list[int],
    policy: Policy,
    temperature: float,
    time_limit: int,
    stall_limit: int = 0,
    features: str = "zh",
) -> tuple[np.ndarray, np.ndarray]:
    """Play one episode per seed in M's dreams.

    Args:
        world: V and M.
        latents: where dreams start.
        seeds: (B,) of the dreams. Dreams with the same seed start alike and meet the same random numbers.
        policy: policy(rows, z=..., h=...) -> encoded actions (k, A), as in playing.episodes. `rows` (k,) are numbers of
            dreams.
        temperature: see dreams.choose_latent.
        time_limit: steps of the longest dream.
        stall_limit: see playing.episodes.play_episodes.
        features: which tensors the policy gets, see ctrl.features.

    Returns:
        returns (B,) float64, the sums of the predicted rewards, and lengths (B,) int64. At each step a dream ends with
        the probability that M predicts.
    """
    tracks = DreamTracks(seeds, latents, world.device)
    dreamer = Dreamer(world, policy, temperature, time_limit, stall_limit, features)
    state, hidden = DreamState.start(tracks), world.cell.get_init_hidden(len(seeds))
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    while len(state.rows):
        state, hidden = dreamer.take_block(tracks, state, hidden)
        rows = state.rows.cpu().numpy()
        returns[rows], lengths[rows] = state.returns.cpu().numpy(), state.lengths.cpu().numpy()
        running = state.running.nonzero().squeeze(-1)
        # A CUDA graph is for batches of one size, so on a GPU the dreams that are over stay in the batch.
        if len(running) < len(rows) and (dreamer.graph is None or not len(running)):
            state = DreamState(*(tensor[running] for tensor in state))
            hidden = tuple(tensor[running] for tensor in hidden)
    if dreamer.graph:
        world.capturable = dreamer.graph.capturable
    return returns, lengths
