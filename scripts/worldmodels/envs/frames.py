"""Frames as V sees them: size and channels."""

import numpy as np
import torch
import torch.nn.functional as F

from worldmodels.runtime.config import EnvConfig


def frames_for_v(frames: np.ndarray, env: EnvConfig) -> np.ndarray:
    """Frames (N, H, W, C) or, grey ones, (N, H, W), uint8, as V sees them: (N, height, width, 3 or 1)."""
    if frames.ndim == 3:
        frames = frames[..., None]
    if env.grey and frames.shape[-1] == 3:
        frames = np.rint(frames @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint8)[..., None]  # BT.601
    return resize_frames(frames, env.height, env.width)


def resize_frames(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Frames at V's size, anti-aliased (bilinear with a support that grows with the reduction, as Pillow's).

    Args:
        frames: (N, H, W, C) uint8.

    Returns:
        (N, height, width, C) uint8, contiguous.
    """
    if frames.shape[1:3] == (height, width):
        return np.ascontiguousarray(frames)
    images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    images = F.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
