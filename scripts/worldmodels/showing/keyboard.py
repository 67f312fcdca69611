"""A window that shows a dream and takes the actions from the keyboard."""

import os
import re
from collections.abc import Mapping, Sequence

import gymnasium as gym
import numpy as np
import torch

from worldmodels.envs.actions import ActionCodec
from worldmodels.models.decoding import decode
from worldmodels.models.mdrnn import Hidden
from worldmodels.models.vae import VAE
from worldmodels.runtime.errors import UserError

WINDOW = 512  # each side, pixels
# Key -> words in the names of the actions that it chooses.
WORDS = {
    "left": {"left"},
    "right": {"right"},
    "up": {"up", "forward"},
    "down": {"down", "backward"},
    "space": {"fire", "attack"},
}


def name_actions(env: gym.Env) -> list[str]:
    """Return the environment's own names of its discrete actions, in lower case; [] if it has none.

    Atari's games have names, as "noop" and "upright". VizDoom's are made of its buttons, as "move_left"; its action
    without a button is "noop".
    """
    game = env.unwrapped
    if hasattr(game, "get_action_meanings"):
        return [name.lower() for name in game.get_action_meanings()]
    if hasattr(game, "button_map") and hasattr(game, "game"):
        buttons = [button.name.lower() for button in game.game.get_available_buttons()]
        presses = [[name for name, pressed in zip(buttons, row) if pressed] for row in game.button_map]
        return ["+".join(names) or "noop" for names in presses]
    return []


def choose_by_key(count: int, names: Sequence[str]) -> tuple[dict[str, int], int | None]:
    """Return which discrete action each key chooses, and the action without a key.

    A digit chooses the action of this number. With names, an arrow or space chooses the action with the key's word and
    the fewest other words. Without names, left and right choose the first and the last of two or three actions.

    Args:
        count: number of the actions.
        names: of the actions, see name_actions.

    Returns:
        Name of the key (left, right, up, down, space or a digit) -> number of the action. And the number of the action
        without a key; None for the action before.
    """
    keys = {str(digit): digit for digit in range(min(count, 10))}
    if len(names) == count:
        words = [re.split(r"[_+ ]", name) for name in names]
        for key, wanted in WORDS.items():
            fitting = [number for number in range(count) if wanted & set(words[number])]
            if fitting:
                keys[key] = min(fitting, key=lambda number: len(words[number]))
        return keys, names.index("noop") if "noop" in names else 0
    if count in (2, 3):
        keys |= {"left": 0, "right": count - 1}
    return keys, {2: None, 3: 1}.get(count, 0)


class Keyboard:
    """A policy for `dream`: it shows each latent as V decodes it, and returns the action of the pressed keys.

    Continuous actions: left and right are the bounds of the first action, down and up of the second. Space is the upper
    bound of the third. Discrete actions: see choose_by_key.

    Args:
        vae: V, which decodes the latents.
        codec: the environment's actions.
        fps: steps per second.
        names: of discrete actions, see name_actions.

    Attributes:
        closed: whether the user has pressed Esc or closed the window.

    Raises:
        UserError: There is no display, or the actions are neither continuous nor one choice.
    """

    def __init__(self, vae: VAE, codec: ActionCodec, fps: float, names: Sequence[str] = ()) -> None:
        import pygame

        if not codec.continuous and not isinstance(codec.space, gym.spaces.Discrete):
            raise UserError(f"--drive keyboard: expected continuous or discrete actions, found {codec.space}")
        self.pygame, self.vae, self.codec, self.fps = pygame, vae, codec, fps
        self.open_window()
        self.clock, self.closed = pygame.time.Clock(), False
        # Of each continuous action: the key of its lower bound, the key of its upper bound.
        self.bounds = [(pygame.K_LEFT, pygame.K_RIGHT), (pygame.K_DOWN, pygame.K_UP), (None, pygame.K_SPACE)]
        # Of discrete actions: key -> number. The digits of the numeric keypad count, too.
        keys, self.idle = choose_by_key(codec.size, names)
        self.choices = {getattr(pygame, f"K_{key.upper()}"): number for key, number in keys.items()}
        self.choices |= {getattr(pygame, f"K_KP{key}"): number for key, number in keys.items() if key.isdigit()}
        self.chosen = self.idle or 0

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
        display.set_caption("a dream of M: arrows, space and digits drive, Esc ends it")

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
        """Return the encoded action (A,) of the pressed keys.

        Args:
            pressed: key of pygame -> whether it is down.
        """
        return self.continuous_action(pressed) if self.codec.continuous else self.discrete_action(pressed)

    def continuous_action(self, pressed: Mapping[int, bool]) -> np.ndarray:
        """Return the action (A,) of the pressed keys. Without a pressed key it is 0, or the bound next to 0."""
        low, high = self.codec.low, self.codec.high
        action = np.clip(np.zeros_like(low), low, high)
        for i, (down, up) in enumerate(self.bounds[: len(action)]):
            if down is not None and pressed[down]:
                action[i] = low[i]
            if pressed[up]:
                action[i] = high[i]
        return action

    def discrete_action(self, pressed: Mapping[int, bool]) -> np.ndarray:
        """Return the one-hot action (A,) of the first pressed key, or of no key."""
        held = [number for key, number in self.choices.items() if pressed[key]]
        if held:
            self.chosen = held[0]
        elif self.idle is not None:
            self.chosen = self.idle
        return np.eye(self.codec.size, dtype=np.float32)[self.chosen]

    def close(self) -> None:
        """Close the window."""
        self.pygame.display.quit()
