"""Pictures of an environment, as its observations or its rendering give them, as uint8 frames of one size."""

from typing import Any

import gymnasium as gym
import numpy as np

# Below this highest value, integers are the codes of a board, such as 0: empty, 1: wall, and no brightness.
CODES = 16
EXPECTED = "a picture of shape (H, W, 3), (H, W, 1) or (H, W) with values 0 to 255, or floats from 0 to 1,"


class PictureError(Exception):
    """What came is no picture.

    Attributes:
        expected, found: in words.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected, self.found = expected, found


def is_image(space: gym.Space) -> bool:
    """Whether observations are pictures: shaped (H, W, 3), (H, W, 1) or, of uint8 only, (H, W).

    Values are uint8, or floats in a Box from 0 to 1 or from 0 to 255.
    """
    if not isinstance(space, gym.spaces.Box):
        return False
    shaped = len(space.shape) == 3 and space.shape[2] in (1, 3)
    if space.dtype == np.uint8:
        return shaped or len(space.shape) == 2
    floats = np.issubdtype(space.dtype, np.floating)
    return shaped and floats and (space.low == 0).all() and ((space.high == 1).all() or (space.high == 255).all())


def are_codes(space: gym.Space) -> bool:
    """Whether the values of an image space are too few for brightness, as those of a board of codes."""
    return space.dtype == np.uint8 and bool((space.high < CODES).all())


class Pictures:
    """Turns what an environment gives into frames (H, W) or (H, W, C) uint8, C 1 or 3, all of one shape.

    uint8 is taken as it is, other integers from 0 to 255 too, True as 255; the alpha of a rendered picture is dropped,
    and a list of a single rendered picture is that picture. Floats go by the bounds of the space. Without such bounds
    the first picture that is not black decides whether they reach to 1 or to 255, for all that follow.

    Args:
        space: of the observations, where these are the pictures; None where they are rendered.
    """

    def __init__(self, space: gym.spaces.Box | None) -> None:
        self.rendered = space is None
        self.shape: tuple[int, ...] | None = None if space is None else space.shape
        self.high: float | None = None  # of floats
        if space is not None and np.issubdtype(space.dtype, np.floating):
            self.high = float(space.high.max())
        self.binary = space is not None and space.dtype == np.uint8 and bool((space.high == 1).all())

    def read(self, value: Any) -> np.ndarray:
        """The frame that a value stands for.

        Raises:
            PictureError: it is none, or not like those before.
        """
        if self.rendered and isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        if hasattr(value, "__array__") and not isinstance(value, np.generic):
            value = np.asarray(value)
        if not isinstance(value, np.ndarray):
            raise PictureError(EXPECTED, describe_value(value))
        if self.rendered and value.ndim == 3 and value.shape[2] == 4:
            value = value[..., :3]
        if not (value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3))) or not value.size:
            first = value.ndim == 3 and value.shape[0] in (1, 3, 4)
            raise PictureError(EXPECTED, describe_value(value) + (", channels first" if first else ""))
        if self.shape is None:
            self.shape = value.shape
        if value.shape != self.shape:
            words = "as the observation space says" if not self.rendered else "as of the first one"
            raise PictureError(f"a picture of shape {self.shape}, {words},", describe_value(value))
        return self.to_uint8(value)

    def to_uint8(self, value: np.ndarray) -> np.ndarray:
        if value.dtype == np.uint8 and not self.binary:
            return value
        if value.dtype == bool or (self.binary and value.max() <= 1):
            return value.astype(np.uint8) * 255
        if np.issubdtype(value.dtype, np.integer) and value.min() >= 0 and value.max() <= 255:
            return value.astype(np.uint8)
        if not np.issubdtype(value.dtype, np.floating) or not np.isfinite(value).all():
            raise PictureError(EXPECTED, describe_value(value))
        low, high = float(value.min()), float(value.max())
        if self.high is None and high > 0:
            self.high = 1.0 if high <= 1.0 else 255.0
        most = self.high or 255.0
        if low < 0 or high > most * (1 + 1e-6):
            raise PictureError(f"floats from 0 to {most:g}, as in the pictures before,", describe_value(value))
        return np.rint(np.minimum(value, most) * (255.0 / most)).astype(np.uint8)


def describe_value(value: Any) -> str:
    """A value in a few words: None, a number, or an array's shape, type and range."""
    if isinstance(value, np.ndarray):
        text = f"an array of shape {value.shape} and type {value.dtype}"
        if value.size and np.issubdtype(value.dtype, np.number) and value.dtype != np.uint8:
            text += f" with values from {value.min():.4g} to {value.max():.4g}"
        return text
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{type(value).__name__} {text[:60]}..."
