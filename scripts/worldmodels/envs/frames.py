"""Frames in the size and with the channels that V sees."""

import numpy as np
import torch
import torch.nn.functional as F

from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.errors import UserError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # weights of red, green and blue (ITU-R BT.601)


def frames_for_v(frames: np.ndarray, env: EnvConfig) -> np.ndarray:
    """Convert an environment's frames to the part, size and channels that V sees.

    The settings are env.crop, env.grey, env.height and env.width.

    Args:
        frames: (N, H, W, C) uint8; grey ones may be (N, H, W).
        env: the environment's configuration.

    Returns:
        (N, height, width, 3 or 1) uint8, contiguous.

    Raises:
        UserError: env.crop leaves nothing of the frames.
    """
    if frames.ndim == 3:
        frames = frames[..., None]
    if env.crop:
        frames = crop_frames(frames, env.crop)
    if env.grey and frames.shape[-1] == 3:
        frames = np.rint(frames @ LUMA).astype(np.uint8)[..., None]
    return resize_frames(frames, env.height, env.width)


def crop_frames(frames: np.ndarray, margins: list[int]) -> np.ndarray:
    """Cut pixels off frames (N, H, W, C).

    Args:
        frames: of any type.
        margins: pixels to cut off at the top, the bottom, the left and the right.

    Raises:
        UserError: nothing is left.
    """
    top, bottom, left, right = margins
    height, width = frames.shape[1:3]
    cropped = frames[:, top : max(top, height - bottom), left : max(left, width - right)]
    if not cropped.size:
        raise UserError(f"env.crop: expected to leave pixels of pictures of {height} x {width}, found {margins}")
    return cropped


def resize_frames(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize frames with anti-aliasing: bilinear, with a support that grows with the reduction, as in Pillow.

    Args:
        frames: (N, H, W, C) uint8.
        height: rows of the result.
        width: columns of the result.

    Returns:
        (N, height, width, C) uint8, contiguous.
    """
    if frames.shape[1:3] == (height, width):
        return np.ascontiguousarray(frames)
    images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    images = F.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
