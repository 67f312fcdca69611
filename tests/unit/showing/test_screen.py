"""A window or film shows an episode, and the right one drives. The window is SDL's, without a display."""

import argparse
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pygame
import pytest
import torch
from PIL import Image

from worldmodels.envs.actions import ActionCodec
from worldmodels.runtime.errors import UserError
from worldmodels.showing.screen import Screen, add_screen_flags
from worldmodels.showing.window import Window

CONTROLLER = torch.tensor([[0.1, 0.2, 0.3]])


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.fixture
def keys(monkeypatch) -> Iterator[set[int]]:
    """The keys that are down."""
    down: set[int] = set()
    monkeypatch.setattr(Window, "pressed", property(lambda window: Down(down)))
    yield down
    pygame.quit()


class Down(dict):
    def __init__(self, keys: set[int]) -> None:
        super().__init__(dict.fromkeys(keys, True))

    def __missing__(self, key: int) -> bool:
        return False


def make_screen(*flags, space=None, fps=1000) -> Screen:
    parser = argparse.ArgumentParser()
    add_screen_flags(parser, "default.gif")
    screen = Screen(parser.parse_args([str(flag) for flag in flags]), "title")
    space = space or gym.spaces.Box(-1, 1, (3,), np.float32)
    env = SimpleNamespace(metadata={"render_fps": fps}, unwrapped=None)
    instances = SimpleNamespace(
        members=[SimpleNamespace(env=env)], codec=ActionCodec(space), config=SimpleNamespace(frame_skip=2)
    )
    screen.adapt(instances)
    return screen


def play(screen: Screen, steps: int) -> list[int]:
    """Show an episode of so many steps, and return the steps that were drawn."""
    drawn = []

    def draw() -> Image.Image:
        drawn.append(1)
        return Image.new("RGB", (8, 4), (40 * len(drawn), 0, 0))

    shown = []
    for step in range(steps + 1):
        before = len(drawn)
        screen.show(step, draw, step == steps)
        shown += [step] * (len(drawn) - before)
    return shown


def test_a_film_has_some_steps_and_the_last_one(tmp_path):
    screen = make_screen("--output", tmp_path / "a.gif", fps=100)  # 50 steps per second
    assert play(screen, 10) == [0, 4, 8, 10] and play(screen, 4) == [0, 4]
    screen.close()
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 6 and film.info["duration"] == 80


def test_a_window_shows_more_than_a_film_and_writes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    screen = make_screen("--render", "human", fps=200)
    assert play(screen, 10) == [0, 4, 8, 10]  # 100 steps per second
    assert pygame.display.get_surface().get_size() == (8, 4) and pygame.display.get_surface().get_at((0, 0))[0] == 160
    screen.close()
    assert not list(tmp_path.iterdir()) and not pygame.display.get_init()


def test_a_window_opens_again_after_an_environment_has_shut_pygame_down():
    screen = make_screen("--render", "human")
    play(screen, 0)
    pygame.quit()
    play(screen, 0)
    assert pygame.display.get_surface().get_size() == (8, 4)
    screen.close()


def test_a_held_key_takes_over(keys):
    screen = make_screen("--render", "human")
    keys.add(pygame.K_LEFT)
    assert torch.equal(screen.drive(CONTROLLER), CONTROLLER)  # nothing has been shown yet
    play(screen, 0)
    assert screen.drive(CONTROLLER.expand(8, 3)).tolist() == [[-1, 0, 0]] * 8 and screen.is_driven
    keys.clear()
    assert torch.equal(screen.drive(CONTROLLER), CONTROLLER) and not screen.is_driven
    screen.close()


def test_alone_the_keyboard_drives_without_a_key(keys):
    screen = make_screen("--render", "human", "--drive", "keyboard", space=gym.spaces.Discrete(3))
    play(screen, 0)
    assert screen.drive(torch.eye(3)[:1]).tolist() == [[0, 1, 0]]
    keys.add(pygame.K_RIGHT)
    assert screen.drive(torch.eye(3)[:1]).tolist() == [[0, 0, 1]]
    screen.close()


def test_actions_without_keys_can_be_watched(keys):
    screen = make_screen("--render", "human", space=gym.spaces.MultiBinary(3))
    play(screen, 0)
    assert torch.equal(screen.drive(CONTROLLER), CONTROLLER)
    screen.close()
    with pytest.raises(UserError, match="--drive keyboard: expected continuous or discrete actions, found MultiBinary"):
        make_screen("--render", "human", "--drive", "keyboard", space=gym.spaces.MultiBinary(3))


@pytest.mark.parametrize(
    "event", [pygame.event.Event(pygame.QUIT), pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE)]
)
def test_the_user_ends_the_show(event):
    screen = make_screen("--render", "human")
    play(screen, 1)
    assert not screen.closed
    pygame.event.post(event)
    play(screen, 1)
    assert screen.closed
    screen.close()


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            ["--drive", "keyboard"],
            r"--drive keyboard: expected a window to press keys in \(--render human\), found a film",
        ),
        (["--height", "3"], "--height: expected at least 16, found 3"),
        (["--output", "film.avi"], r"film.avi: expected a film to end in"),
    ],
)
def test_wrong_flags_raise(flags, message):
    with pytest.raises(UserError, match=message):
        make_screen(*flags)


def test_a_window_without_pygame_raises(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(
        UserError, match=r"--render human: expected pygame to be installed \(pip install pygame-ce\), found"
    ):
        make_screen("--render", "human")
