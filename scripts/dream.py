#!/usr/bin/env python
"""Play the world model itself: a dream of M, seen through V, as a film (paper, section 4).

The environment runs for --warm-up steps; then it is taken away, and every frame is M's own prediction. The trained
controller drives, or you do:

    python scripts/dream.py --logdir results/carracing --temperature 0.8 --output dream.gif
    python scripts/dream.py --logdir results/carracing --drive keyboard

Keys: left and right for the first action, down and up for the second, space for the third (in CarRacing: steer,
gas, brake); Esc ends the dream.
"""

import os
from pathlib import Path

import numpy as np
import torch

from worldmodels.envs import seeding
from worldmodels.envs.actions import ActionCodec
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
from worldmodels.storage.files import prepare_folder

FPS = 50  # steps a second at the keyboard: CarRacing's own
EVERY = 4  # steps between two pictures of the film
WINDOW = 512  # pixels, each side


class Keyboard:
    """A window that shows the dream and gives the keys as actions.

    Raises:
        UserError: there is no display, or the actions are not continuous.
    """

    def __init__(self, world: WorldModel, codec: ActionCodec) -> None:
        import pygame

        if not codec.continuous:
            raise UserError(f"--drive keyboard: expected continuous actions, found {codec.space}")
        self.pygame, self.world, self.codec = pygame, world, codec
        try:
            pygame.display.init()
            self.window = pygame.display.set_mode((WINDOW, WINDOW))
        except pygame.error as error:
            raise UserError(f"--drive keyboard: expected a display to open a window on, found none ({error})") from None
        if not os.environ.get("SDL_VIDEODRIVER") and pygame.display.get_driver() in ("dummy", "offscreen"):
            raise UserError("--drive keyboard: expected a display to open a window on, found none")
        pygame.display.set_caption("a dream of M: arrows and space drive, Esc ends it")
        self.clock, self.over = pygame.time.Clock(), False
        # (keys to the lower bound, keys to the upper bound) of each action
        self.keys = [(pygame.K_LEFT, pygame.K_RIGHT), (pygame.K_DOWN, pygame.K_UP), (None, pygame.K_SPACE)]

    def __call__(self, step: int, z: torch.Tensor, hidden: Hidden) -> torch.Tensor:
        """Show z, wait for the clock, and look at the keys."""
        frame = decode(self.world.vae, z)[0]
        surface = self.pygame.surfarray.make_surface(np.repeat(frame, 3 // frame.shape[-1], -1).swapaxes(0, 1))
        self.window.blit(self.pygame.transform.scale(surface, self.window.get_size()), (0, 0))
        self.pygame.display.flip()
        self.clock.tick(FPS)
        for event in self.pygame.event.get():
            escaped = event.type == self.pygame.KEYDOWN and event.key == self.pygame.K_ESCAPE
            self.over |= escaped or event.type == self.pygame.QUIT
        return torch.from_numpy(self.action(self.pygame.key.get_pressed())).to(z.device).unsqueeze(0)

    def action(self, pressed) -> np.ndarray:
        """The action (A,) of the keys that are down; without keys an action rests at 0, or at the bound next to it."""
        low, high = self.codec.low, self.codec.high
        action = np.clip(np.zeros_like(low), low, high)
        for i, (down, up) in enumerate(self.keys[: len(action)]):
            if down is not None and pressed[down]:
                action[i] = low[i]
            if pressed[up]:
                action[i] = high[i]
        return action

    def close(self) -> None:
        self.pygame.display.quit()


def warm_up(world: WorldModel, instances: Instances, policy, steps: int, seed: int):
    """Drive the true environment for some steps, or to its end: the latent (1,n) then, and M's state before it."""
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


@torch.inference_mode()
def main(args) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    if args.temperature < 0:
        raise UserError(f"--temperature: expected at least 0, found {args.temperature:g}")
    if args.steps < 1 or args.warm_up < 0:
        raise UserError(f"--steps and --warm-up: expected at least 1 and 0, found {args.steps} and {args.warm_up}")
    for output in args.output:  # now, not after the drive
        check_film(output)
        prepare_folder(Path(output).absolute().parent)
    world, controller, saved = load_agent(run.logdir, choose_device(run.device))
    instances = Instances(env)
    squash = world.squash(saved["config"]["squash"], instances.space)

    def trained(step: int, z: torch.Tensor, hidden: Hidden) -> torch.Tensor:
        return squash(controller(**world.features(controller.features, z, hidden)))

    z, hidden = warm_up(world, instances, trained, args.warm_up, seeding.track_seed(run.seed, "validation", 0))
    keyboard = Keyboard(world, squash.codec) if args.drive == "keyboard" else None
    generator = torch.Generator(world.device).manual_seed(seeding.integer_seed(run.seed, "dream"))
    latents, rewards, ended = [z], [], ""
    steps = dream(world.cell, z, hidden, keyboard or trained, args.steps, args.temperature, generator)
    for step in progress(steps, "dream", args.steps):
        latents.append(step.latent)
        rewards.append(float(step.reward))
        if float(step.terminal) > 0 or (keyboard and keyboard.over):
            ended = ", ended by you" if keyboard and keyboard.over else ", where M ends the episode"
            break
    if keyboard:
        keyboard.close()
    shown = range(0, len(latents), EVERY)
    so_far = np.cumsum([0.0, *rewards])
    notes = [f"step {t:3d}   predicted return {so_far[t]:4.0f}" for t in shown]
    frames = decode(world.vae, torch.cat(latents)[list(shown)])
    label = f"a dream of M, temperature {args.temperature:g}"
    pictures = label_frames({label: frames}, notes, scale=4)
    for output in args.output:
        write_film(output, pictures, FPS / EVERY)
    log.info(
        "dream: %d steps%s, predicted return %.1f, temperature %g, %s",
        len(rewards), ended, so_far[-1], args.temperature, ", ".join(args.output),
    )  # fmt: skip


if __name__ == "__main__":
    made = make_parser(__doc__, EnvConfig)
    made.add_argument("--temperature", type=float, default=1.0, help="of the dream; 0: no chance (default: 1.0)")
    made.add_argument("--steps", type=int, default=500, help="steps to dream at most (default: %(default)s)")
    made.add_argument("--warm-up", type=int, default=60, help="true steps before the dream (default: %(default)s)")
    made.add_argument(
        "--drive", choices=("controller", "keyboard"), default="controller", help="who drives (default: %(default)s)"
    )
    made.add_argument(
        "--output", nargs="+", default=["dream.gif"], help="the film: .gif, .png or .mp4 files (default: dream.gif)"
    )
    run_program(made, main)
