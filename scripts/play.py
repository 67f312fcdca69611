#!/usr/bin/env python
"""Watch the trained agent in the environment, or drive yourself: in a window or as a film.

Beside the environment stand V's reconstruction of the frame and M's prediction of it, made one step before.

    python scripts/play.py --logdir results/carracing --output play.gif
    python scripts/play.py --logdir results/carracing --render human
    python scripts/play.py --logdir results/carracing --worst 3 --render human

The agent acts as in the official test. While you press no key, an episode has the return that eval.json has for its
seed. The environment is the run's, as <logdir>/ctrl/best.json or a package of `export` records it.

{keys}
"""

import json
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from worldmodels.envs import seeding
from worldmodels.models.decoding import decode
from worldmodels.models.vae import VAE
from worldmodels.playing.evaluation import AgentPlayer
from worldmodels.playing.watching import Moment, watch
from worldmodels.runtime.config import EnvConfig, RunConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.log import log
from worldmodels.runtime.packages import find_package
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.progress import progress
from worldmodels.runtime.run_defaults import take_env_of_run
from worldmodels.showing.films import label_picture
from worldmodels.showing.screen import KEYS, Screen, add_screen_flags
from worldmodels.storage.files import read_json


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    if args.steps < 0:
        raise UserError(f"--steps: expected at least 0, found {args.steps}")
    tested = read_test(run.logdir, needed=args.worst is not None)
    seeds = choose_seeds(args, run, tested)
    screen = Screen(args, "the agent at play. Hold a key to drive, Esc ends")
    player = AgentPlayer.load(0, run.logdir, env, str(choose_device(run.device)))
    screen.adapt(player.instances)
    for seed in seeds:
        moment = play(player, screen, seed, args.steps, args.height)
        log.info("play: %s", describe_episode(seed, moment, tested))
        if screen.closed:
            break
    player.close()
    screen.close()
    if args.output:
        log.info("play: %s", ", ".join(args.output))


def read_test(logdir: str, needed: bool) -> dict[int, float]:
    """Return the returns of the official test by their seeds; {} if there is none and none is needed.

    Raises:
        UserError: the test is missing and needed, or damaged, or the package is.
    """
    path, package = Path(logdir, "eval.json"), find_package(logdir)
    if not needed and not package and not path.exists():
        return {}
    test = json.loads(package.read("eval.json")) if package else read_json(path, ("seeds", "returns"))
    return dict(zip(test["seeds"], test["returns"]))


def choose_seeds(args: Namespace, run: RunConfig, tested: dict[int, float]) -> list[int]:
    """Return the seeds of the episodes to play.

    Raises:
        UserError: a seed is negative or not under --track, or the test has fewer episodes than --worst.
    """
    if args.worst is not None:
        if not 1 <= args.worst <= len(tested):
            raise UserError(
                f"--worst: expected 1 to {len(tested)}, the episodes in {run.logdir}/eval.json, found {args.worst}"
            )
        return sorted(tested, key=tested.__getitem__)[: args.worst]
    if run.seed != RunConfig().seed:
        raise UserError(f"--seed: expected the episode's seed under --track, found --seed {run.seed}")
    seeds = args.track or seeding.evaluation_seeds(1)
    if min(seeds) < 0:
        raise UserError(f"--track: expected seeds of at least 0, found {min(seeds)}")
    return seeds


def play(player: AgentPlayer, screen: Screen, seed: int, steps: int, height: int) -> Moment:
    """Show the episode of this seed, or its first steps, and return its last moment.

    Args:
        player: the agent and its environment.
        screen: where to show it.
        seed: of the episode.
        steps: most steps; 0: all.
        height: of each panel, pixels.
    """
    limit = min(steps or player.instances.time_limit, player.instances.time_limit)
    for moment in progress(watch(player, seed, screen.drive), "play", limit):
        note = f"track {seed}   step {moment.step:4d}   return {moment.total:5.0f}"
        is_last = moment.is_over or moment.step == limit or screen.closed
        note += "   you drive" * screen.is_driven + "   the end" * moment.is_over
        screen.show(moment.step, partial(draw, player.world.vae, moment, note, height), is_last)
        if is_last:
            break
    return moment


def draw(vae: VAE, moment: Moment, note: str, height: int) -> Image.Image:
    """Return the picture of a moment: the environment, V's reconstruction and M's prediction."""
    reconstruction = decode(vae, moment.z)[0]
    predicted = np.zeros_like(reconstruction) if moment.predicted is None else decode(vae, moment.predicted)[0]
    panels = {
        "the environment": moment.picture,
        "V's reconstruction": reconstruction,
        "M's prediction": predicted,
    }
    return label_picture(panels, note, height)


def describe_episode(seed: int, moment: Moment, tested: dict[int, float]) -> str:
    """Return a sentence about an episode up to its last moment, with the return of the official test."""
    text = f"seed {seed}: return {moment.total:.1f} in {moment.step} steps"
    return f"{text}; the official test had {tested[seed]:.1f}" if moment.is_over and seed in tested else text


if __name__ == "__main__":
    parser = make_parser(__doc__.format(keys=KEYS), EnvConfig)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--track",
        type=int,
        nargs="+",
        metavar="SEED",
        help="Seeds of the episodes to play, one after another. Default: the first one of the official test",
    )
    choice.add_argument(
        "--worst",
        type=int,
        metavar="INT",
        help="Play this number of the episodes in eval.json: those with the lowest returns.",
    )
    parser.add_argument("--steps", type=int, default=0, help="Most steps of each episode. 0: all. Default: %(default)s")
    add_screen_flags(parser, "play.gif")
    take_env_of_run(parser)
    run_program(parser, main)
