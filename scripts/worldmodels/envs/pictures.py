"""Pictures that an environment observes or renders, converted to uint8 frames of one shape."""

from typing import Any

import gymnasium as gym
import numpy as np

# Integers that all lie below this are codes, such as 0 for empty and 1 for a wall, and no brightness.
MIN_BRIGHTNESS_RANGE = 16
EXPECTED = "a picture of shape (H, W, 3), (H, W, 1) or (H, W) with values 0 to 255, or floats from 0 to 1,"


class PictureError(Exception):
    """A value is no picture.

    Attributes:
        expected: the value that was expected, in words.
        found: the value, in words.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected, self.found = expected, found


def is_image(space: gym.Space) -> bool:
    """Return whether observations of this space are pictures.

    Pictures have the shape (H, W, 3) or (H, W, 1). Their values are uint8, or floats in a Box from 0 to 1 or from 0 to
    255. Pictures of uint8 may also have the shape (H, W).
    """
    if not isinstance(space, gym.spaces.Box):
        return False
    has_channels = len(space.shape) == 3 and space.shape[2] in (1, 3)
    if space.dtype == np.uint8:
        return has_channels or len(space.shape) == 2
    if not has_channels or not np.issubdtype(space.dtype, np.floating):
        return False
    return bool((space.low == 0).all() and ((space.high == 1).all() or (space.high == 255).all()))


def are_codes(space: gym.Space) -> bool:
    """Return whether the values of an image space are codes: too few for brightness, as on a board game's board."""
    return space.dtype == np.uint8 and bool((space.high < MIN_BRIGHTNESS_RANGE).all())


class Pictures:
    """Converts an environment's pictures to frames (H, W) or (H, W, C) uint8, C 1 or 3, all of one shape.

    Integers from 0 to 255 keep their values. True becomes 255. Floats are scaled by the upper bound of the space.
    Without that bound the first picture that is not black decides whether this picture and all later ones reach to 1 or
    to 255. A rendered picture loses its alpha channel. A list of one rendered picture is that picture.

    Args:
        space: of the observations if these are the pictures; None if the pictures are rendered.

    Attributes:
        rendered: whether the pictures are rendered.
        shape: of the pictures; None before the first rendered one.
        high: the highest value of floats; None while it is unknown.
        binary: whether the space says that its integers are 0 and 1.
    """

    def __init__(self, space: gym.spaces.Box | None) -> None:
        self.rendered = space is None
        self.shape: tuple[int, ...] | None = None if space is None else space.shape
        self.high: float | None = None
        if space is not None and np.issubdtype(space.dtype, np.floating):
            self.high = float(space.high.max())
        self.binary = space is not None and space.dtype == np.uint8 and bool((space.high == 1).all())

    def read(self, value: Any) -> np.ndarray:
        """Return the frame of an observation or of a rendered picture.

        Raises:
            PictureError: the value is no picture, or has another shape or range than those before.
        """
        picture = self.to_array(value)
        has_channels = picture.ndim == 3 and picture.shape[2] in (1, 3)
        if not (picture.ndim == 2 or has_channels) or not picture.size:
            channels_first = picture.ndim == 3 and picture.shape[0] in (1, 3, 4)
            raise PictureError(EXPECTED, describe_value(picture) + (", channels first" if channels_first else ""))
        if self.shape is None:
            self.shape = picture.shape
        if picture.shape != self.shape:
            source = "as of the first one" if self.rendered else "as the observation space says"
            raise PictureError(f"a picture of shape {self.shape}, {source},", describe_value(picture))
        return self.to_uint8(picture)

    def to_array(self, value: Any) -> np.ndarray:
        """Return a value as an array, without a surrounding list and without an alpha channel if it is rendered."""
        if self.rendered and isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        if hasattr(value, "__array__") and not isinstance(value, np.generic):
            value = np.asarray(value)
        if not isinstance(value, np.ndarray):
            raise PictureError(EXPECTED, describe_value(value))
        if self.rendered and value.ndim == 3 and value.shape[2] == 4:
            value = value[..., :3]
        return value

    def to_uint8(self, value: np.ndarray) -> np.ndarray:
        """Return a picture of the right shape as uint8.

        Raises:
            PictureError: its values are no brightness from 0 to `high`.
        """
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
        limit = self.high or 255.0
        if low < 0 or high > limit * (1 + 1e-6):
            raise PictureError(f"floats from 0 to {limit:g}, as in the pictures before,", describe_value(value))
        return np.rint(np.minimum(value, limit) * (255.0 / limit)).astype(np.uint8)


def describe_value(value: Any) -> str:
    """Return a few words about a value: an array's shape, type and range, a list's length, or the value itself."""
    if isinstance(value, np.ndarray):
        text = f"an array of shape {value.shape} and type {value.dtype}"
        if value.size and np.issubdtype(value.dtype, np.number) and value.dtype != np.uint8:
            text += f" with values from {value.min():.4g} to {value.max():.4g}"
        return text
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{type(value).__name__} {text[:60]}..."
