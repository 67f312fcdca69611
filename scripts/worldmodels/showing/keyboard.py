"""Actions from the keyboard."""

import re
from collections.abc import Mapping, Sequence

import gymnasium as gym
import numpy as np

from worldmodels.envs.actions import ActionCodec
from worldmodels.runtime.errors import UserError

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
    """Turns pressed keys into an action.

    Continuous actions: left and right are the bounds of the first action, down and up of the second. Space is the upper
    bound of the third. Discrete actions: see choose_by_key.

    Args:
        codec: the environment's actions.
        names: of discrete actions, see name_actions.

    Raises:
        UserError: The actions are neither continuous nor one choice.
    """

    def __init__(self, codec: ActionCodec, names: Sequence[str] = ()) -> None:
        import pygame

        if not codec.continuous and not isinstance(codec.space, gym.spaces.Discrete):
            raise UserError(f"--drive keyboard: expected continuous or discrete actions, found {codec.space}")
        self.codec = codec
        # Of each continuous action: the key of its lower bound, the key of its upper bound.
        self.bounds = [(pygame.K_LEFT, pygame.K_RIGHT), (pygame.K_DOWN, pygame.K_UP), (None, pygame.K_SPACE)]
        # Of discrete actions: key -> number. The digits of the numeric keypad count, too.
        keys, self.idle = choose_by_key(codec.size, names)
        self.choices = {getattr(pygame, f"K_{key.upper()}"): number for key, number in keys.items()}
        self.choices |= {getattr(pygame, f"K_KP{key}"): number for key, number in keys.items() if key.isdigit()}
        self.chosen = self.idle or 0

    def action(self, pressed: Mapping[int, bool]) -> np.ndarray | None:
        """Return the encoded action (A,) of the pressed keys; None if no key of an action is pressed.

        Args:
            pressed: key of pygame -> whether it is down.
        """
        if self.codec.continuous:
            keys = [key for pair in self.bounds[: self.codec.size] for key in pair if key is not None]
        else:
            keys = list(self.choices)
        if not any(pressed[key] for key in keys):
            return None
        return self.continuous_action(pressed) if self.codec.continuous else self.discrete_action(pressed)

    def idle_action(self) -> np.ndarray:
        """Return the encoded action (A,) that does nothing, see choose_by_key: for a continuous one 0, or next to 0."""
        if self.codec.continuous:
            return np.clip(np.zeros_like(self.codec.low), self.codec.low, self.codec.high)
        return self.one_hot(self.chosen if self.idle is None else self.idle)

    def continuous_action(self, pressed: Mapping[int, bool]) -> np.ndarray:
        """Return the action (A,) of the pressed keys. The actions without a pressed key are idle."""
        action = self.idle_action()
        for i, (down, up) in enumerate(self.bounds[: len(action)]):
            if down is not None and pressed[down]:
                action[i] = self.codec.low[i]
            if pressed[up]:
                action[i] = self.codec.high[i]
        return action

    def discrete_action(self, pressed: Mapping[int, bool]) -> np.ndarray:
        """Return the action (A,) of the first pressed key."""
        self.chosen = next(number for key, number in self.choices.items() if pressed[key])
        return self.one_hot(self.chosen)

    def one_hot(self, number: int) -> np.ndarray:
        """Return the encoded discrete action (A,) of this number."""
        return np.eye(self.codec.size, dtype=np.float32)[number]
