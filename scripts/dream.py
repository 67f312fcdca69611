#!/usr/bin/env python
"""Play the world model itself: film a dream of M beside the environment (paper, section 4).

The environment runs for --warm-up steps. From then on the trained controller drives twice: in a dream, where every
frame is M's own prediction as V decodes it, and in the environment. Or you drive in the dream alone:

    python scripts/dream.py --logdir results/carracing --temperature 0.8 --output dream.gif
    python scripts/dream.py --logdir results/carracing --drive keyboard

Keys of continuous actions: left and right for the first action, down and up for the second, space for the third (in
CarRacing: steering, gas, brake).
Keys of discrete actions: a digit chooses the action of this number. Where the environment names its actions, as VizDoom
and Atari do, arrows and space choose by name: left, right, up or forward, down or backward, fire or attack. Otherwise
left and right choose the first and the last of two or three actions. Without a key the action is the one that does
nothing, if there is one: the middle one of three, the last choice of two, else the first one.
Esc ends the dream.
"""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from worldmodels.envs import seeding
from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import GymnasiumLanes
from worldmodels.models.decoding import decode
from worldmodels.models.encoding import encode
from worldmodels.models.mdrnn import Hidden
from worldmodels.playing.agent import WorldModel, load_agent
from worldmodels.playing.dreams import dream
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.progress import progress
from worldmodels.showing.films import check_film, label_frames, stack_films, write_film
from worldmodels.showing.keyboard import Keyboard, name_actions
from worldmodels.storage.files import prepare_folder

FPS = 50  # steps per second where the environment names no other number
PICTURES = 12.5  # of the film, per second, about

Policy = Callable[[int, torch.Tensor, Hidden], torch.Tensor]  # step, z (1,n), M's state -> action (1,A)


@dataclass
class Start:
    """Where the dream starts, and the environment goes on.

    Attributes:
        frame: (1,H,W,C) uint8.
        z: (1,n).
        hidden: M's state before z.
        is_over: whether the episode has ended.
    """

    frame: np.ndarray
    z: torch.Tensor
    hidden: Hidden
    is_over: bool


@dataclass
class Episode:
    """What happens in T steps from the start on, in the dream or in the environment.

    Attributes:
        frames: (T + 1,H,W,C) uint8.
        rewards: the T rewards.
        ending: how it ended, as text; "" if --steps have passed.
    """

    frames: np.ndarray
    rewards: list[float]
    ending: str


@torch.inference_mode()
def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    check_flags(args)
    world, controller, saved = load_agent(run.logdir, choose_device(run.device))
    temperature = own_temperature(saved["config"]) if args.temperature is None else args.temperature
    instances = Instances(env)
    fps, names = steps_per_second(instances), name_actions(instances.members[0].env)
    squash = world.squash(saved["config"]["squash"], instances.space)

    def drive(step: int, z: torch.Tensor, hidden: Hidden) -> torch.Tensor:
        return squash(controller(**world.features(controller.features, z, hidden)))

    lane = GymnasiumLanes(instances.config, [seeding.track_seed(run.seed, "validation", 0)], instances)
    start = warm_up(world, lane, drive, args.warm_up)
    keyboard = Keyboard(world.vae, squash.codec, fps, names) if args.drive == "keyboard" else None
    generator = torch.Generator(world.device).manual_seed(seeding.integer_seed(run.seed, "dream"))
    episodes = {
        f"in M's dream, temperature {temperature:g}": play_dream(
            world, start, keyboard or drive, args.steps, temperature, generator
        )
    }
    if keyboard:
        keyboard.close()
    else:
        episodes["in the environment"] = play_on(world, lane, start, drive, args.steps)
    instances.close()
    write_films(args.output, episodes, fps)
    texts = (
        f"{place}: {len(episode.rewards)} steps{episode.ending and ', '}{episode.ending}, "
        f"return {np.cumsum([0.0, *episode.rewards])[-1]:.1f}"
        for place, episode in episodes.items()
    )
    log.info("dream: %s, %s", "; ".join(texts), ", ".join(args.output))


def own_temperature(config: dict) -> float:
    """Return the temperature of the dreams in which C learned; 1 if it learned in the environment.

    Args:
        config: of C's checkpoint.
    """
    return config["temperature"] if config.get("world") == "dream" else 1.0


def steps_per_second(instances: Instances) -> float:
    """Return how many actions per second the environment is made for, as its metadata say."""
    fps = instances.members[0].env.metadata.get("render_fps")
    is_number = isinstance(fps, (int, float)) and 0 < fps < float("inf")
    return (fps if is_number else FPS) / instances.config.frame_skip


def check_flags(args: Namespace) -> None:
    """Check the flags and the output files before the dream begins.

    Raises:
        UserError: A flag is out of bounds, or a film cannot be written.
    """
    if args.temperature is not None and not args.temperature >= 0:
        raise UserError(f"--temperature: expected at least 0, found {args.temperature:g}")
    if args.steps < 1 or args.warm_up < 0:
        raise UserError(f"--steps and --warm-up: expected at least 1 and 0, found {args.steps} and {args.warm_up}")
    for output in args.output:
        check_film(output)
        prepare_folder(Path(output).absolute().parent)


def warm_up(world: WorldModel, lane: GymnasiumLanes, policy: Policy, steps: int) -> Start:
    """Drive the true environment for some steps, or to the end of the episode."""
    frame = lane.reset()
    start = Start(frame, encode(world.vae, torch.from_numpy(frame))[0], world.cell.get_init_hidden(1), False)
    for step in range(steps):
        start, _ = step_on(world, lane, start, policy, step)
        if start.is_over:
            log.info("dream: the episode ended after %d steps, the dream starts there", step + 1)
            break
    return start


def step_on(world: WorldModel, lane: GymnasiumLanes, now: Start, policy: Policy, step: int) -> tuple[Start, float]:
    """Take a step in the environment.

    Returns:
        What follows, and the reward.
    """
    action = policy(step, now.z, now.hidden)
    frame, rewards, terminated, truncated = lane.step(np.arange(1), action.cpu().numpy())
    hidden = world.cell.next_hidden(action, now.z, now.hidden)
    z, _ = encode(world.vae, torch.from_numpy(frame))
    return Start(frame, z, hidden, bool(terminated[0] or truncated[0])), float(rewards[0])


def play_on(world: WorldModel, lane: GymnasiumLanes, start: Start, policy: Policy, steps: int) -> Episode:
    """Drive on in the environment until the episode ends or the steps have passed."""
    now, frames, rewards = start, [start.frame], []
    while len(rewards) < steps and not now.is_over:
        now, reward = step_on(world, lane, now, policy, len(rewards))
        frames.append(now.frame)
        rewards.append(reward)
    return Episode(np.concatenate(frames), rewards, "where the episode ends" if now.is_over else "")


def play_dream(
    world: WorldModel,
    start: Start,
    policy: Policy | Keyboard,
    steps: int,
    temperature: float,
    generator: torch.Generator,
) -> Episode:
    """Dream until M ends the episode, the user ends it, or the steps have passed.

    At each step M ends the episode with the probability that it predicts.
    """
    latents, rewards, ending = [start.z], [], ""
    dreamt = dream(world.cell, start.z, start.hidden, policy, steps, temperature, generator)
    for step in progress(dreamt, "dream", steps):
        latents.append(step.latent)
        rewards.append(float(step.reward))
        if getattr(policy, "closed", False):
            ending = "ended by you"
            break
        if torch.rand(1, generator=generator, device=world.device) < step.terminal.sigmoid():
            ending = "where M ends the episode"
            break
    return Episode(decode(world.vae, torch.cat(latents)), rewards, ending)


def write_films(outputs: list[str], episodes: dict[str, Episode], fps: float) -> None:
    """Write the episodes side by side as films: every few steps a picture with the returns so far.

    Args:
        outputs: the files.
        episodes: label -> episode. An episode that ends goes on as its last picture.
        fps: steps per second.
    """
    every = max(1, round(fps / PICTURES))
    pictures = stack_films([film_episode(label, episode, every) for label, episode in episodes.items()], beside=True)
    for output in outputs:
        write_film(output, pictures, fps / every)


def film_episode(label: str, episode: Episode, every: int) -> list[Image.Image]:
    """Return the pictures of an episode: each `every`-th step, and its last one."""
    last = len(episode.rewards)
    shown = [*range(0, last, every), last]
    return_so_far = np.cumsum([0.0, *episode.rewards])
    notes = [f"step {t:3d}   return {return_so_far[t]:4.0f}" for t in shown]
    if episode.ending:
        notes[-1] += "   the end"
    return label_frames({label: episode.frames[shown]}, notes, scale=4)


if __name__ == "__main__":
    parser = make_parser(__doc__, EnvConfig)
    parser.add_argument(
        "--temperature",
        type=float,
        help="of the dream; 0: no randomness (default: that of the dreams in which the controller learned, else 1)",
    )
    parser.add_argument("--steps", type=int, default=500, help="most steps of each (default: %(default)s)")
    parser.add_argument(
        "--warm-up", type=int, default=60, help="steps in the environment before the dream (default: %(default)s)"
    )
    parser.add_argument(
        "--drive", choices=("controller", "keyboard"), default="controller", help="who drives (default: %(default)s)"
    )
    parser.add_argument(
        "--output", nargs="+", default=["dream.gif"], help="the film: .gif, .png or .mp4 files (default: dream.gif)"
    )
    run_program(parser, main)
