"""A window that shows a dream and takes the actions from the keyboard."""

import os
from collections.abc import Mapping

import numpy as np
import torch

from worldmodels.envs.actions import ActionCodec
from worldmodels.models.decoding import decode
from worldmodels.models.mdrnn import Hidden
from worldmodels.models.vae import VAE
from worldmodels.runtime.errors import UserError

WINDOW = 512  # each side, pixels


class Keyboard:
    """A policy for `dream`: it shows each latent as V decodes it, and returns the action of the pressed keys.

    Left and right are the bounds of the first action, down and up of the second. Space is the upper bound of the third.

    Args:
        vae: V, which decodes the latents.
        codec: the environment's actions.
        fps: steps per second.

    Attributes:
        closed: whether the user has pressed Esc or closed the window.

    Raises:
        UserError: There is no display, or the actions are not continuous.
    """

    def __init__(self, vae: VAE, codec: ActionCodec, fps: float) -> None:
        import pygame

        if not codec.continuous:
            raise UserError(f"--drive keyboard: expected continuous actions, found {codec.space}")
        self.pygame, self.vae, self.codec, self.fps = pygame, vae, codec, fps
        self.open_window()
        self.clock, self.closed = pygame.time.Clock(), False
        # Of each action: the key of its lower bound, the key of its upper bound.
        self.keys = [(pygame.K_LEFT, pygame.K_RIGHT), (pygame.K_DOWN, pygame.K_UP), (None, pygame.K_SPACE)]

    def open_window(self) -> None:
        """Open the window.

        Raises:
            UserError: There is no display.
        """
        display = self.pygame.display
        try:
            display.init()
            self.window = display.set_mode((WINDOW, WINDOW))
        except self.pygame.error as error:
            raise UserError(f"--drive keyboard: expected a display to open a window on, found none ({error})") from None
        if not os.environ.get("SDL_VIDEODRIVER") and display.get_driver() in ("dummy", "offscreen"):
            raise UserError("--drive keyboard: expected a display to open a window on, found none")
        display.set_caption("a dream of M: arrows and space drive, Esc ends it")

    def __call__(self, step: int, z: torch.Tensor, hidden: Hidden) -> torch.Tensor:
        """Show the latent z (1,n) and return the action (1,A) once the step's time has passed."""
        self.show(decode(self.vae, z)[0])
        self.clock.tick(self.fps)
        for event in self.pygame.event.get():
            escaped = event.type == self.pygame.KEYDOWN and event.key == self.pygame.K_ESCAPE
            self.closed |= escaped or event.type == self.pygame.QUIT
        return torch.from_numpy(self.action(self.pygame.key.get_pressed())).to(z.device).unsqueeze(0)

    def show(self, frame: np.ndarray) -> None:
        """Draw a frame (H,W,C) uint8 on the window. C is 1 or 3."""
        pixels = np.repeat(frame, 3 // frame.shape[-1], -1).swapaxes(0, 1)
        surface = self.pygame.surfarray.make_surface(pixels)
        self.window.blit(self.pygame.transform.scale(surface, self.window.get_size()), (0, 0))
        self.pygame.display.flip()

    def action(self, pressed: Mapping[int, bool]) -> np.ndarray:
        """Return the action (A,) of the pressed keys.

        Without a pressed key an action is 0, or the bound next to 0.

        Args:
            pressed: key of pygame -> whether it is down.
        """
        low, high = self.codec.low, self.codec.high
        action = np.clip(np.zeros_like(low), low, high)
        for i, (down, up) in enumerate(self.keys[: len(action)]):
            if down is not None and pressed[down]:
                action[i] = low[i]
            if pressed[up]:
                action[i] = high[i]
        return action

    def close(self) -> None:
        """Close the window."""
        self.pygame.display.quit()
