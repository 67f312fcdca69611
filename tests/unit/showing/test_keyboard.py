"""Keys stand for the actions that docs/play.md lists."""

from enum import Enum
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pygame
import pytest

from worldmodels.envs.actions import ActionCodec
from worldmodels.runtime.errors import UserError
from worldmodels.showing.keyboard import Keyboard, choose_by_key, name_actions

Button = Enum("Button", ["MOVE_LEFT", "MOVE_RIGHT"])
DOOM = ["noop", "move_right", "move_left"]
ATARI = ["noop", "fire", "up", "right", "left", "down", "upright", "upleft", "rightfire"]


def pressed(*keys: int) -> dict[int, bool]:
    everything = {value: False for name, value in vars(pygame).items() if name.startswith("K_")}
    return everything | dict.fromkeys(keys, True)


def test_keys_are_the_bounds_of_the_actions():
    space = gym.spaces.Box(np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32))
    keyboard = Keyboard(ActionCodec(space))
    assert keyboard.idle_action().tolist() == [0, 0, 0]
    assert keyboard.action(pressed(pygame.K_LEFT, pygame.K_UP)).tolist() == [-1, 1, 0]
    assert keyboard.action(pressed(pygame.K_RIGHT, pygame.K_SPACE)).tolist() == [1, 0, 1]


def test_without_a_key_of_an_action_the_keyboard_does_not_drive():
    steering = gym.spaces.Box(-1, 1, (1,), np.float32)
    for space in (steering, gym.spaces.Discrete(3)):
        keyboard = Keyboard(ActionCodec(space))
        assert keyboard.action(pressed()) is None and keyboard.action(pressed(pygame.K_SPACE, pygame.K_q)) is None
        assert keyboard.action(pressed(pygame.K_RIGHT)) is not None


@pytest.mark.parametrize(
    "count, names, left, right, nothing",
    [(3, DOOM, 2, 1, 0), (3, [], 0, 2, 1), (2, [], 0, 1, 0), (9, ATARI, 4, 3, 0), (3, ["x", "y", "z"], None, None, 0)],
)
def test_left_and_right_choose_a_discrete_action(count, names, left, right, nothing):
    keyboard = Keyboard(ActionCodec(gym.spaces.Discrete(count)), names)
    assert int(keyboard.idle_action().argmax()) == nothing
    last = pygame.K_2 if count > 2 else pygame.K_1
    for key, expected in {pygame.K_RIGHT: right, pygame.K_LEFT: left, last: min(2, count - 1), pygame.K_KP0: 0}.items():
        action = keyboard.action(pressed(key))
        assert action is None if expected is None else action.tolist() == np.eye(count)[expected].tolist()


def test_of_two_actions_the_last_choice_stays():
    keyboard = Keyboard(ActionCodec(gym.spaces.Discrete(2, start=5)))
    chosen = []
    for key in (pygame.K_RIGHT, pygame.K_LEFT, pygame.K_RIGHT):
        chosen += [keyboard.action(pressed(key)), keyboard.idle_action()]
    assert [int(action.argmax()) for action in chosen] == [1, 1, 0, 0, 1, 1]


def test_space_and_arrows_choose_by_the_name_with_the_fewest_words():
    keys, idle = choose_by_key(4, ["move_forward+attack", "attack", "turn_left+move_forward", "move_forward"])
    assert (keys["space"], keys["up"], keys["left"], idle) == (1, 3, 2, 0) and "right" not in keys


def test_environments_name_their_actions():
    """As VizDoom has it for Take Cover, and as Atari has it."""
    game = SimpleNamespace(get_available_buttons=lambda: list(Button))
    rows = [np.array(row) for row in ([0, 0], [0, 1], [1, 0], [1, 1])]
    doom = SimpleNamespace(unwrapped=SimpleNamespace(game=game, button_map=rows))
    assert name_actions(doom) == [*DOOM, "move_left+move_right"]
    atari = SimpleNamespace(unwrapped=SimpleNamespace(get_action_meanings=lambda: ["NOOP", "FIRE"]))
    assert name_actions(atari) == ["noop", "fire"]
    assert name_actions(gym.make("CartPole-v1")) == []


def test_other_actions_are_refused():
    with pytest.raises(UserError, match="--drive keyboard: expected continuous or discrete actions, found MultiBinary"):
        Keyboard(ActionCodec(gym.spaces.MultiBinary(3)))
