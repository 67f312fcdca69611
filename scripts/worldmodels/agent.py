"""The agent at work: V sees, M remembers, C acts (paper, section 2.4), many episodes side by side as one batch."""

from collections.abc import Callable
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np
import torch

from worldmodels import checkpoint
from worldmodels.actions import ActionCodec
from worldmodels.envs import EnvPoolLanes, GymnasiumLanes
from worldmodels.graphs import GraphedFunction
from worldmodels.mdrnn import Hidden, MDRNNCell, load_mdrnn, to_cell
from worldmodels.preflight import check_squash
from worldmodels.settings import UserError
from worldmodels.vae import VAE, encode, load_vae


@dataclass
class WorldModel:
    """The trained V and M on one device.

    env_steps: steps of the environment that they were trained on. logdir: where they are from. graphed: whether a GPU
    can replay them as a graph, as far as is known; a V of one's own may wait for the GPU. digests: of their files, as
    the checkpoint of a C that is trained with them keeps them: "vae" and "mdrnn".
    """

    vae: VAE
    cell: MDRNNCell
    device: torch.device
    env_steps: int
    logdir: str = ""
    graphed: bool = True
    digests: dict[str, str] = field(default_factory=dict)

    def features(self, names: str, z: torch.Tensor, hidden: Hidden) -> dict[str, torch.Tensor]:
        """What ctrl.features names, by name, for a controller: z (B,n), h and c (B,H) of M's last layer."""
        parts = dict(zip("hc", self.cell.last_layer(hidden)), z=z)
        return {name: parts[name] for name in names}

    def squash(self, names: list[str], space: gym.Space) -> "Squash":
        """What turns a controller's outputs into actions of this space.

        Raises:
            UserError: M knows actions of another size, or the names do not suit the space.
        """
        made = Squash(names, space, self.device)
        if made.codec.size != self.cell.actions:
            raise UserError(
                f"{self.logdir}/mdrnn/best.tar: expected an M that knows the environment's actions, {space}, as "
                f"{made.codec.size} numbers, found {self.cell.actions}: it is of another environment"
            )
        return made


def load_world_model(logdir: str, device: torch.device) -> WorldModel:
    """V and M from <logdir>.

    Raises:
        UserError: a checkpoint is missing or damaged, or M was trained with another V.
    """
    files = {stage: f"{logdir}/{stage}/best.tar" for stage in ("vae", "mdrnn")}
    vae, saved = load_vae(files["vae"], device)
    mdrnn, trained = load_mdrnn(files["mdrnn"], device)
    if mdrnn.latents != saved["config"]["latent_size"]:
        raise UserError(
            f"{logdir}/mdrnn/best.tar: expected latents of size {saved['config']['latent_size']} as V's, "
            f"found {mdrnn.latents}"
        )
    checkpoint.check_origin(files["mdrnn"], trained, "M", {"vae": ("V", files["vae"])})
    cell = to_cell(mdrnn).eval().requires_grad_(False)
    digests = {stage: checkpoint.digest(file) for stage, file in files.items()}
    return WorldModel(vae, cell, device, saved.get("env_steps", 0), logdir, digests=digests)


class Squash:
    """Turns a controller's outputs (B, A) into encoded actions (B, A); see ctrl.squash and ActionCodec.

    Of discrete and binary actions the codec alone decides.
    """

    def __init__(self, names: list[str], space: gym.Space, device: torch.device) -> None:
        self.codec = ActionCodec(space)
        check_squash(names, self.codec.summary)
        if not self.codec.continuous:
            return
        size, bounded = self.codec.size, self.codec.bounded
        names = names * size if len(names) == 1 else names or ["tanh" if known else "clip" for known in bounded]
        self.low, self.high = (torch.tensor(bound, device=device) for bound in (self.codec.low, self.codec.high))
        self.scaled = torch.tensor([name == "tanh" for name in names], device=device)
        self.bare = torch.tensor([name == "clip" for name in names], device=device)

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        if not self.codec.continuous:
            return self.codec.snap(outputs)
        wave = outputs.tanh()
        # Without bounds, low and high are infinite and this is not a number: it is not chosen then.
        scaled = self.low + (wave + 1) / 2 * (self.high - self.low)
        clipped = torch.where(self.bare, outputs, wave)
        return torch.maximum(torch.minimum(torch.where(self.scaled, scaled, clipped), self.high), self.low)


@torch.inference_mode()
def play_episodes(
    world: WorldModel,
    lanes: GymnasiumLanes | EnvPoolLanes,
    policy: Callable[..., torch.Tensor],
    time_limit: int = 0,
    stall_limit: int = 0,
    features: str = "zh",
    width: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Play one episode a lane, one of `lanes.groups` after another; an ended episode leaves the batch.

    z is V's mean, without noise, so that an episode is a function of its seed and the weights.

    Args:
        policy: (lanes, and the features by name, as z=z (k,n), h=h (k,H)) -> encoded actions (k,A). The lanes are the
            alive ones (k,), or slice(None) where a batch has all rows: with a width, and on a GPU. A GPU calls it to
            record it alone, so it may depend on its arguments only and keep nothing.
        time_limit: longest episode, steps; 0: as the environment has it.
        stall_limit: end an episode after so many steps without a positive reward and charge it for the steps that
            it could have lasted what those steps cost on average; 0: never.
        features: what the policy is shown, see ctrl.features.
        width: rows of every batch, of which each lane keeps its own. An episode's last bits depend on the size of the
            batch, so with a width they do not tell how many others are played beside it. 0: the alive ones alone; on
            a GPU, which replays batches of one size, a row a lane.

    Returns:
        returns (B,) float64 and lengths (B,) int64.
    """
    count = sum(len(group) for group in lanes.groups)
    on_gpu = world.device.type == "cuda"
    width = width or (count if on_gpu else 0)
    returns, lengths = np.zeros(count), np.zeros(count, np.int64)
    stalled, stall_rewards = np.zeros(count, np.int64), np.zeros(count)
    limit = min(time_limit or lanes.limit, lanes.limit)

    def decide(frames: torch.Tensor, *hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The actions, and M's next hidden state."""
        z, _ = encode(world.vae, frames)
        actions = policy(slice(None) if width else alive, **world.features(features, z, hidden))
        return actions, *(world.cell.remember(actions, z, hidden) if features != "z" else hidden)

    act = GraphedFunction(decide, world.device) if on_gpu and world.graphed else decide
    for group in lanes.groups:
        frames, alive, step = lanes.reset(group), group, 0
        if width:
            padded = np.zeros((width, *frames.shape[1:]), np.uint8)
            padded[group], frames = frames, padded
        hidden = world.cell.get_init_hidden(len(frames))
        while len(alive):
            actions, *hidden = act(torch.from_numpy(frames), *hidden)
            chosen = actions.cpu().numpy()
            seen, rewards, terminated, truncated = lanes.step(alive, chosen[alive] if width else chosen)
            step += 1
            returns[alive] += rewards
            lengths[alive] = step
            idle = rewards <= 0
            stalled[alive] = np.where(idle, stalled[alive] + 1, 0)
            stall_rewards[alive] = np.where(idle, stall_rewards[alive] + rewards, 0.0)
            done = terminated | truncated
            if step >= limit:
                done[:] = True
            if stall_limit:
                stuck = alive[(stalled[alive] >= stall_limit) & ~done]
                returns[stuck] += stall_rewards[stuck] / stalled[stuck] * (limit - step)
                done |= np.isin(alive, stuck)
            if width:
                frames[alive] = seen
            else:
                frames = seen[~done]
                if done.any():
                    hidden = [part[torch.from_numpy(~done)] for part in hidden]
            alive = alive[~done]
    if isinstance(act, GraphedFunction):
        world.graphed = act.possible  # torch never gives back the memory of a capture that failed
    return returns, lengths
