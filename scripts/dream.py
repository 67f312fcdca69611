#!/usr/bin/env python
"""Play the world model itself: a dream of M beside the environment (paper, section 4), in a window or as a film.

The environment runs for --warm-up steps. From then on the trained controller drives twice: in a dream, where every
frame is M's own prediction as V decodes it, and in the environment. In a window your keys drive both.

    python scripts/dream.py --logdir results/carracing --temperature 0.8 --output dream.gif
    python scripts/dream.py --logdir results/carracing --render human --drive keyboard

The environment is the run's, as <logdir>/ctrl/best.json or a package of `export` records it.

{keys}
"""

from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice, zip_longest

import numpy as np
import torch
from PIL import Image

from worldmodels.envs import seeding
from worldmodels.models.decoding import decode
from worldmodels.models.load_controller import load_controller
from worldmodels.models.mdrnn import Hidden
from worldmodels.playing.dreams import dream
from worldmodels.playing.evaluation import AgentPlayer
from worldmodels.playing.watching import Moment, watch
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.progress import progress
from worldmodels.runtime.run_defaults import take_env_of_run
from worldmodels.showing.films import label_picture, stack_films
from worldmodels.showing.screen import KEYS, Screen, add_screen_flags


@dataclass
class Scene:
    """The dream, or the environment beside it, some steps after the start of the dream.

    Attributes:
        step: the number of these steps.
        total: the return since then.
        ending: how it has ended, as text; "" before.
        frame: returns the frame (H,W,C) uint8.
    """

    step: int
    total: float
    ending: str
    frame: Callable[[], np.ndarray]


@torch.inference_mode()
def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    check_flags(args)
    screen = Screen(args, "a dream of M, and the environment. Hold a key to drive, Esc ends")
    player = AgentPlayer.load(0, run.logdir, env, str(choose_device(run.device)))
    screen.adapt(player.instances)
    temperature = own_temperature(run.logdir) if args.temperature is None else args.temperature
    seed = seeding.track_seed(run.seed, "validation", 0) if args.track is None else args.track
    moments = watch(player, seed, screen.drive)
    start = next(moment for moment in moments if moment.step == args.warm_up or moment.is_over)
    if start.step < args.warm_up:
        log.info("dream: the episode ended after %d steps, the dream starts there", start.step)
    generator = torch.Generator(player.world.device).manual_seed(seeding.integer_seed(run.seed, "dream"))
    players = {
        f"in M's dream, temperature {temperature:g}": play_dream(
            player, screen, start, args.steps, temperature, generator
        ),
        "in the environment": play_on(start, islice(moments, args.steps)),
    }
    scenes = show(screen, players, args.steps, args.height)
    player.close()
    screen.close()
    log.info("dream: %s", "; ".join(map(describe, scenes, scenes.values())))
    if args.output:
        log.info("dream: %s", ", ".join(args.output))


def own_temperature(logdir: str) -> float:
    """Return the temperature of the dreams in which C learned; 1 if it learned in the environment."""
    config = load_controller(f"{logdir}/ctrl/best.tar")[1]["config"]
    return config["temperature"] if config.get("world") == "dream" else 1.0


def check_flags(args: Namespace) -> None:
    """Check the flags before the dream begins.

    Raises:
        UserError: A flag is out of bounds.
    """
    if args.temperature is not None and not args.temperature >= 0:
        raise UserError(f"--temperature: expected at least 0, found {args.temperature:g}")
    if args.steps < 1 or args.warm_up < 0:
        raise UserError(f"--steps and --warm-up: expected at least 1 and 0, found {args.steps} and {args.warm_up}")
    if args.track is not None and args.track < 0:
        raise UserError(f"--track: expected a seed of at least 0, found {args.track}")


def play_dream(
    player: AgentPlayer, screen: Screen, start: Moment, steps: int, temperature: float, generator: torch.Generator
) -> Iterator[Scene]:
    """Dream until M ends the episode or the steps have passed. M ends it with the probability that it predicts.

    Args:
        player: the agent.
        screen: says who drives.
        start: where the dream starts.
        steps: most steps.
        temperature: see playing.dreams.
        generator: of the random numbers.

    Yields:
        The scenes, from step 0 on.
    """
    world, controller, squash = player.world, player.controller, player.squash

    def drive(step: int, z: torch.Tensor, hidden: Hidden) -> torch.Tensor:
        return screen.drive(squash(controller(**world.features(controller.features, z, hidden))))

    def frame(z: torch.Tensor) -> np.ndarray:
        return decode(world.vae, z)[0]

    total, ending = 0.0, ""
    yield Scene(0, total, ending, partial(frame, start.z))
    for number, step in enumerate(dream(world.cell, start.z, start.hidden, drive, steps, temperature, generator), 1):
        total += float(step.reward)
        if torch.rand(1, generator=generator, device=world.device) < step.terminal.sigmoid():
            ending = "where M ends the episode"
        yield Scene(number, total, ending, partial(frame, step.latent))
        if ending:
            return


def play_on(start: Moment, moments: Iterator[Moment]) -> Iterator[Scene]:
    """Yield the scenes of the environment from the start of the dream on, step 0 included."""
    for moment in chain([start], moments):
        ending = "where the episode ends" if moment.is_over else ""
        yield Scene(moment.step - start.step, moment.total - start.total, ending, partial(np.asarray, moment.frame))


def show(screen: Screen, players: dict[str, Iterator[Scene]], steps: int, height: int) -> dict[str, Scene]:
    """Show the scenes side by side until all have ended, and return the last ones.

    Args:
        screen: where to show them.
        players: label -> scenes. One that ends early waits at its last scene.
        steps: most steps.
        height: of each panel, pixels.
    """
    scenes: dict[str, Scene] = {}
    for items in progress(zip_longest(*players.values()), "dream", steps + 1):
        scenes |= {label: scene for label, scene in zip(players, items) if scene}
        step = max(scene.step for scene in scenes.values())
        is_last = screen.closed or all(scene.ending or scene.step == steps for scene in scenes.values())
        screen.show(step, partial(draw, scenes, screen.is_driven, height), is_last)
        if is_last:
            break
    if screen.closed:
        scenes = {label: replace(scene, ending=scene.ending or "ended by you") for label, scene in scenes.items()}
    return scenes


def draw(scenes: dict[str, Scene], is_driven: bool, height: int) -> Image.Image:
    """Return the picture of the scenes, each with a note below."""
    films = []
    for label, scene in scenes.items():
        note = f"step {scene.step:3d}   return {scene.total:4.0f}" + "   you drive" * is_driven
        note += "   the end" * bool(scene.ending)
        films.append([label_picture({label: scene.frame()}, note, height)])
    return stack_films(films, beside=True)[0]


def describe(label: str, scene: Scene) -> str:
    """Return what happened up to a last scene, as text."""
    return f"{label}: {scene.step} steps{scene.ending and ', '}{scene.ending}, return {scene.total:.1f}"


if __name__ == "__main__":
    parser = make_parser(__doc__.format(keys=KEYS), EnvConfig)
    parser.add_argument(
        "--temperature",
        type=float,
        help="of the dream; 0: no randomness (default: that of the dreams in which the controller learned, else 1)",
    )
    parser.add_argument(
        "--track", type=int, metavar="SEED", help="seed of the episode (default: the first validation track of --seed)"
    )
    parser.add_argument("--steps", type=int, default=500, help="most steps of each (default: %(default)s)")
    parser.add_argument(
        "--warm-up", type=int, default=60, help="steps in the environment before the dream (default: %(default)s)"
    )
    add_screen_flags(parser, "dream.gif")
    take_env_of_run(parser)
    run_program(parser, main)
