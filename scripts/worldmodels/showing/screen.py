"""What play.py and dream.py share: a window, a film or both, who drives, and the flags that say so."""

import argparse
from argparse import Namespace
from collections.abc import Callable

import gymnasium as gym
import torch
from PIL import Image

from worldmodels.envs.actions import ActionCodec
from worldmodels.envs.instances import Instances
from worldmodels.runtime.errors import UserError
from worldmodels.showing.films import check_film, write_film
from worldmodels.showing.keyboard import Keyboard, name_actions
from worldmodels.showing.window import Window

FPS = 50  # steps per second where the environment names no other number
FILM_PICTURES = 12.5  # per second, about
WINDOW_PICTURES = 25

KEYS = """Keys: while you hold one, you drive and the controller waits. Esc ends the show.
Continuous actions: left and right for the first action, down and up for the second, space for the third (in CarRacing:
steering, gas, brake). A held key sets its action to the bound, and the other actions to 0.
Discrete actions: a digit chooses the action of this number. Where the environment names its actions, as VizDoom and
Atari do, arrows and space choose by name: left, right, up or forward, down or backward, fire or attack. Otherwise left
and right choose the first and the last of two or three actions.
With --drive keyboard the controller never drives. Without a key the action is the one that does nothing, if there is
one: the middle one of three, the last choice of two, else the first one."""


class Screen:
    """Shows an episode in a window, in films, or in both, at the environment's speed. A held key takes over.

    Args:
        args: parsed flags, see add_screen_flags.
        title: of the window.

    Attributes:
        is_driven: whether the keyboard chose the last action.

    Raises:
        UserError: a flag is wrong, a film cannot be written, or there is no display for the window.
    """

    def __init__(self, args: Namespace, title: str) -> None:
        check_screen_flags(args)
        self.outputs, self.is_alone = args.output, args.drive == "keyboard"
        self.window = Window(title) if args.render == "human" else None
        self.fps, self.keyboard, self.is_driven = float(FPS), None, False
        self.pictures: list[Image.Image] = []

    def adapt(self, instances: Instances) -> None:
        """Take the speed and the keys of an environment.

        Raises:
            UserError: the keyboard is to drive alone, and has no keys for these actions.
        """
        env, codec = instances.members[0].env, instances.codec
        self.fps = steps_per_second(env) / instances.config.frame_skip
        if self.window and (self.is_alone or has_keys(codec)):
            self.keyboard = Keyboard(codec, name_actions(env))

    def drive(self, actions: torch.Tensor) -> torch.Tensor:
        """Return the controller's encoded actions (B, A), or the action of the held keys in their place.

        Before the first picture the controller drives.
        """
        if self.keyboard is None or not self.window.is_open:
            return actions
        action = self.keyboard.action(self.window.pressed)
        if action is None and self.is_alone:
            action = self.keyboard.idle_action()
        self.is_driven = action is not None
        return actions if action is None else torch.from_numpy(action).to(actions).expand_as(actions)

    def show(self, step: int, draw: Callable[[], Image.Image], is_last: bool) -> None:
        """Show a step of an episode.

        Args:
            step: its number. Films and window leave some steps out.
            draw: returns the picture. It is called if the step is shown.
            is_last: whether this is the episode's last step, which films and window always show.
        """
        in_film = bool(self.outputs) and (is_last or step % steps_per_picture(self.fps, FILM_PICTURES) == 0)
        in_window = bool(self.window) and (is_last or step % steps_per_picture(self.fps, WINDOW_PICTURES) == 0)
        if in_film or in_window:
            picture = draw()
        if in_film:
            self.pictures.append(picture)
        if in_window:
            self.window.show(picture)
        if self.window:
            self.window.wait(self.fps)

    @property
    def closed(self) -> bool:
        """Whether the user has ended the show."""
        return self.window is not None and self.window.closed

    def close(self) -> None:
        """Close the window and write the films."""
        if self.window:
            self.window.close()
        for output in self.outputs:
            write_film(output, self.pictures, self.fps / steps_per_picture(self.fps, FILM_PICTURES))


def steps_per_second(env: gym.Env) -> float:
    """Return how many of its steps per second the environment is made for, as its metadata say."""
    fps = env.metadata.get("render_fps")
    return fps if isinstance(fps, (int, float)) and 0 < fps < float("inf") else FPS


def steps_per_picture(fps: float, pictures: float) -> int:
    """Return after how many steps to show a picture, for about this number of pictures per second."""
    return max(1, round(fps / pictures))


def has_keys(codec: ActionCodec) -> bool:
    """Return whether a keyboard can choose these actions."""
    return codec.continuous or isinstance(codec.space, gym.spaces.Discrete)


def add_screen_flags(parser: argparse.ArgumentParser, film: str) -> None:
    """Add the flags of a Screen.

    Args:
        parser: the program's.
        film: the file that is written without a window and without --output.
    """
    group = parser.add_argument_group("settings of the show")
    group.add_argument(
        "--render",
        choices=("film", "human"),
        default="film",
        help="film: write a film. human: open a window, and write a film only with --output (default: %(default)s)",
    )
    group.add_argument(
        "--output", nargs="+", metavar="FILE", help=f"the film: .gif, .png or .mp4 files (default: {film})"
    )
    group.add_argument(
        "--drive",
        choices=("controller", "keyboard"),
        default="controller",
        help="who drives while you hold no key in the window. keyboard: nobody (default: %(default)s)",
    )
    group.add_argument(
        "--height", type=int, default=256, metavar="INT", help="of each panel, pixels (default: %(default)s)"
    )
    parser.set_defaults(default_film=film)


def check_screen_flags(args: Namespace) -> None:
    """Settle the films to write, and check the flags before the show begins.

    Raises:
        UserError: a flag is wrong, or a film cannot be written.
    """
    if args.output is None:
        args.output = [args.default_film] if args.render == "film" else []
    if args.drive == "keyboard" and args.render == "film":
        raise UserError("--drive keyboard: expected a window to press keys in (--render human), found a film")
    if args.height < 16:
        raise UserError(f"--height: expected at least 16, found {args.height}")
    for output in args.output:
        check_film(output)
