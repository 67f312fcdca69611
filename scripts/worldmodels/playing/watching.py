"""An episode of the agent in the environment, step by step, with V's code of each frame and M's prediction of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from worldmodels.envs.frames import crop_frames, frames_for_v
from worldmodels.models.encoding import encode
from worldmodels.models.mdrnn import Hidden
from worldmodels.playing.dreams import sample_latent
from worldmodels.playing.evaluation import WIDTH, AgentPlayer

Drive = Callable[[torch.Tensor], torch.Tensor]  # the agent's encoded actions (B, A) -> the actions to take (B, A)


@dataclass
class Moment:
    """An episode after some steps.

    Attributes:
        step: the number of these steps.
        picture: (height, width, 1 or 3) uint8, as the environment draws it, within env.crop.
        frame: (H, W, C) uint8, what V sees of it.
        z: (1, n), V's mean.
        predicted: (1, n), z as M predicted it one step before: the mean of the most likely Gaussian. None at step 0.
        hidden: M's hidden state before z, (1, H) each.
        total: the return so far.
        is_over: whether the episode has ended.
    """

    step: int
    picture: np.ndarray
    frame: np.ndarray
    z: torch.Tensor
    predicted: torch.Tensor | None
    hidden: Hidden
    total: float
    is_over: bool


@torch.inference_mode()
def watch(player: AgentPlayer, seed: int, drive: Drive = lambda actions: actions) -> Iterator[Moment]:
    """Play an episode of the agent in gymnasium's environment.

    The agent acts as in the official test: the same seed gives the same return, bit for bit on the same machine.

    Args:
        player: the agent and its environment.
        seed: of the episode.
        drive: changes the agent's actions before they are taken. M's state follows the actions that are taken.

    Yields:
        The moments, from step 0 on. The last one is over.
    """
    world, instances = player.world, player.instances
    instance = instances.take(1)[0]
    hidden = world.cell.get_init_hidden(WIDTH)
    predicted, total, is_over = None, 0.0, False
    picture = instance.reset(seed)
    for step in range(instances.time_limit + 1):
        frame = frames_for_v(picture[None], instances.config)
        z, _ = encode(world.vae, torch.from_numpy(widen(frame)))
        state = tuple(tensor[:1] for tensor in hidden)
        seen = visible_part(picture, instances.config.crop)
        yield Moment(step, seen, frame[0], z[:1], predicted, state, total, is_over)
        if is_over:
            return
        features = world.features(player.controller.features, z, hidden)
        actions = drive(player.squash(player.controller(**features)))
        *mixture, _, _, hidden = world.cell(actions, z, hidden)
        predicted = sample_latent(*mixture, temperature=0.0)[:1]
        action = instances.codec.decode(actions[0].cpu().numpy())
        picture, reward, terminated, truncated = instance.step(action)
        total += float(np.float32(reward))  # as lanes have it
        is_over = terminated or truncated or step + 1 == instances.time_limit


def widen(frame: np.ndarray) -> np.ndarray:
    """Return a batch as wide as the official test's, with this frame (1, H, W, C) in its first row.

    The last bits of V's codes depend on the width of the batch.
    """
    return np.concatenate([frame, np.zeros((WIDTH - 1, *frame.shape[1:]), np.uint8)])


def visible_part(picture: np.ndarray, margins: list[int]) -> np.ndarray:
    """Return what env.crop leaves of a picture (H, W) or (H, W, C), as (height, width, C)."""
    picture = picture.reshape(*picture.shape[:2], -1)
    return crop_frames(picture[None], margins)[0] if margins else picture
