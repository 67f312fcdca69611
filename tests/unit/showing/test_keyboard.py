"""The keyboard that drives a dream, without a window."""

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


@pytest.fixture(autouse=True)
def no_window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def pressed(*keys: int) -> dict[int, bool]:
    everything = {value: False for name, value in vars(pygame).items() if name.startswith("K_")}
    return everything | dict.fromkeys(keys, True)


def test_keys_are_the_bounds_of_the_actions():
    space = gym.spaces.Box(np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32))
    keyboard = Keyboard(None, ActionCodec(space), 50)
    assert keyboard.action(pressed()).tolist() == [0, 0, 0]
    assert keyboard.action(pressed(pygame.K_LEFT, pygame.K_UP)).tolist() == [-1, 1, 0]
    assert keyboard.action(pressed(pygame.K_RIGHT, pygame.K_SPACE)).tolist() == [1, 0, 1]
    keyboard.close()


@pytest.mark.parametrize(
    "count, names, left, right, nothing",
    [(3, DOOM, 2, 1, 0), (3, [], 0, 2, 1), (2, [], 0, 1, 0), (9, ATARI, 4, 3, 0), (3, ["x", "y", "z"], 0, 0, 0)],
)
def test_left_and_right_choose_a_discrete_action(count, names, left, right, nothing):
    keyboard = Keyboard(None, ActionCodec(gym.spaces.Discrete(count)), 35, names)
    chosen = [
        int(keyboard.action(pressed(*keys)).argmax())
        for keys in ([], [pygame.K_RIGHT], [pygame.K_LEFT], [pygame.K_2] if count > 2 else [pygame.K_1], [pygame.K_KP0])
    ]
    assert chosen == [nothing, right, left, min(2, count - 1), 0]
    assert keyboard.action(pressed()).sum() == 1
    keyboard.close()


def test_of_two_actions_the_last_choice_stays():
    keyboard = Keyboard(None, ActionCodec(gym.spaces.Discrete(2, start=5)), 50)
    keys = ([pygame.K_RIGHT], [], [pygame.K_LEFT], [])
    assert [int(keyboard.action(pressed(*held)).argmax()) for held in keys] == [1, 1, 0, 0]
    keyboard.close()


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
        Keyboard(None, ActionCodec(gym.spaces.MultiBinary(3)), 50)
