"""Frames in the size and with the channels that V sees."""

import numpy as np
import torch
import torch.nn.functional as F

from worldmodels.runtime.config import EnvConfig

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # weights of red, green and blue (ITU-R BT.601)


def frames_for_v(frames: np.ndarray, env: EnvConfig) -> np.ndarray:
    """Convert an environment's frames to the size and channels that V sees, see env.height, env.width and env.grey.

    Args:
        frames: (N, H, W, C) uint8; grey ones may be (N, H, W).
        env: the environment's configuration.

    Returns:
        (N, height, width, 3 or 1) uint8, contiguous.
    """
    if frames.ndim == 3:
        frames = frames[..., None]
    if env.grey and frames.shape[-1] == 3:
        frames = np.rint(frames @ LUMA).astype(np.uint8)[..., None]
    return resize_frames(frames, env.height, env.width)


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
