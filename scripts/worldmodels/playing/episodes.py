"""Episodes of the agent, many side by side as one batch."""

from collections.abc import Callable

import numpy as np
import torch

from worldmodels.envs.lanes import EnvPoolLanes, GymnasiumLanes
from worldmodels.models.encoding import encode
from worldmodels.playing.agent import WorldModel
from worldmodels.playing.graphed_function import GraphedFunction


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
    limit = min(time_limit or lanes.time_limit, lanes.time_limit)

    def decide(frames: torch.Tensor, *hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The actions, and M's next hidden state."""
        z, _ = encode(world.vae, frames)
        actions = policy(slice(None) if width else alive, **world.features(features, z, hidden))
        return actions, *(world.cell.next_hidden(actions, z, hidden) if features != "z" else hidden)

    act = GraphedFunction(decide, world.device) if on_gpu and world.capturable else decide
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
        world.capturable = act.capturable  # torch never gives back the memory of a capture that failed
    return returns, lengths
