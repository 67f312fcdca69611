#!/usr/bin/env python
"""Play the world model itself: film a dream of M as V decodes it (paper, section 4).

The environment runs for --warm-up steps. From then on every frame is M's own prediction. The trained controller
drives, or you do:

    python scripts/dream.py --logdir results/carracing --temperature 0.8 --output dream.gif
    python scripts/dream.py --logdir results/carracing --drive keyboard

Keys: left and right for the first action, down and up for the second, space for the third (in CarRacing: steering,
gas, brake). Esc ends the dream.
"""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

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
from worldmodels.showing.films import check_film, label_frames, write_film
from worldmodels.showing.keyboard import Keyboard
from worldmodels.storage.files import prepare_folder

FPS = 50  # steps per second, as in CarRacing
EVERY = 4  # steps between two pictures of the film

Policy = Callable[[int, torch.Tensor, Hidden], torch.Tensor]  # step, z (1,n), M's state -> action (1,A)


@torch.inference_mode()
def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    check_flags(args)
    world, controller, saved = load_agent(run.logdir, choose_device(run.device))
    instances = Instances(env)
    squash = world.squash(saved["config"]["squash"], instances.space)

    def drive(step: int, z: torch.Tensor, hidden: Hidden) -> torch.Tensor:
        return squash(controller(**world.features(controller.features, z, hidden)))

    z, hidden = warm_up(world, instances, drive, args.warm_up, seeding.track_seed(run.seed, "validation", 0))
    keyboard = Keyboard(world.vae, squash.codec, FPS) if args.drive == "keyboard" else None
    generator = torch.Generator(world.device).manual_seed(seeding.integer_seed(run.seed, "dream"))
    latents, rewards, ending = play_dream(world, z, hidden, drive, keyboard, args, generator)
    write_films(args.output, world, latents, rewards, args.temperature)
    log.info(
        "dream: %d steps%s, predicted return %.1f, temperature %g, %s",
        len(rewards), ending, np.cumsum([0.0, *rewards])[-1], args.temperature, ", ".join(args.output),
    )  # fmt: skip


def check_flags(args: Namespace) -> None:
    """Check the flags and the output files before the dream begins.

    Raises:
        UserError: A flag is out of bounds, or a film cannot be written.
    """
    if args.temperature < 0:
        raise UserError(f"--temperature: expected at least 0, found {args.temperature:g}")
    if args.steps < 1 or args.warm_up < 0:
        raise UserError(f"--steps and --warm-up: expected at least 1 and 0, found {args.steps} and {args.warm_up}")
    for output in args.output:
        check_film(output)
        prepare_folder(Path(output).absolute().parent)


def warm_up(
    world: WorldModel, instances: Instances, policy: Policy, steps: int, seed: int
) -> tuple[torch.Tensor, Hidden]:
    """Drive the true environment for some steps, or to the end of the episode.

    Returns:
        The latent (1,n) that follows, and M's state before it.
    """
    lane = GymnasiumLanes(instances.config, [seed], instances)
    z, hidden = encode(world.vae, torch.from_numpy(lane.reset()))[0], world.cell.get_init_hidden(1)
    for step in range(steps):
        action = policy(step, z, hidden)
        frames, _, terminated, truncated = lane.step(np.arange(1), action.cpu().numpy())
        hidden = world.cell.next_hidden(action, z, hidden)
        z, _ = encode(world.vae, torch.from_numpy(frames))
        if terminated[0] or truncated[0]:
            log.info("dream: the episode ended after %d steps, the dream starts there", step + 1)
            break
    instances.close()
    return z, hidden


def play_dream(
    world: WorldModel,
    z: torch.Tensor,
    hidden: Hidden,
    drive: Policy,
    keyboard: Keyboard | None,
    args: Namespace,
    generator: torch.Generator,
) -> tuple[torch.Tensor, list[float], str]:
    """Dream until M ends the episode, the user ends it, or --steps have passed.

    Returns:
        latents (T + 1, n), the T predicted rewards, and how the dream ended, as text for the log.
    """
    latents, rewards, ending = [z], [], ""
    steps = dream(world.cell, z, hidden, keyboard or drive, args.steps, args.temperature, generator)
    for step in progress(steps, "dream", args.steps):
        latents.append(step.latent)
        rewards.append(float(step.reward))
        if keyboard and keyboard.closed:
            ending = ", ended by you"
            break
        if float(step.terminal) > 0:
            ending = ", where M ends the episode"
            break
    if keyboard:
        keyboard.close()
    return torch.cat(latents), rewards, ending


def write_films(
    outputs: list[str], world: WorldModel, latents: torch.Tensor, rewards: list[float], temperature: float
) -> None:
    """Write the dream as films: every few steps a picture with the return predicted so far.

    Args:
        outputs: the files.
        world: the world model that dreamt.
        latents: (T + 1, n).
        rewards: the T predicted rewards.
        temperature: the dream's temperature.
    """
    shown = range(0, len(latents), EVERY)
    return_so_far = np.cumsum([0.0, *rewards])
    notes = [f"step {t:3d}   predicted return {return_so_far[t]:4.0f}" for t in shown]
    frames = decode(world.vae, latents[list(shown)])
    pictures = label_frames({f"a dream of M, temperature {temperature:g}": frames}, notes, scale=4)
    for output in outputs:
        write_film(output, pictures, FPS / EVERY)


if __name__ == "__main__":
    parser = make_parser(__doc__, EnvConfig)
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="of the dream; 0: no randomness (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=500, help="longest dream, steps (default: %(default)s)")
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
