#!/usr/bin/env python
"""Replay the best, the median and the worst episode of the official test, and film them.

Writes to <logdir>/report: best.gif, median.gif and worst.gif, with what V sees, V's reconstruction, and M's dream under
the same actions. The dream restarts from the truth at regular intervals. films.png shows all three films. replays.npz
holds the paths that were driven.
"""

from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from worldmodels.models.decoding import decode
from worldmodels.playing.agent import WorldModel, load_world_model
from worldmodels.playing.evaluation import AgentPlayer, check_agent
from worldmodels.playing.replays import Replay, dream_along, replay_episode
from worldmodels.playing.workers import run_with_player, start_player
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.progress import progress
from worldmodels.runtime.workers import worker_pool
from worldmodels.showing.films import label_frames, stack_films, write_film
from worldmodels.storage.files import prepare_folder, read_json
from worldmodels.storage.npz import write_npz

STRETCH = 100  # steps that M dreams between two looks at the truth
EVERY = 5  # steps between two pictures
FPS = 12.5  # pictures per second
SEED = 1  # of the dreams


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    folder = Path(run.logdir) / "report"
    prepare_folder(folder)
    test = read_json(f"{run.logdir}/eval.json", ("seeds", "returns"))
    chosen = choose_episodes(test["returns"])
    seeds = [test["seeds"][number] for number in chosen.values()]
    env = check_agent(run.logdir, env)
    workers = max(1, min(len(seeds), args.threads))
    with worker_pool(workers, start_player, AgentPlayer.load, run.logdir, env, run.device) as pool:
        results = pool.map(partial(run_with_player, replay_episode), seeds)
        replays = dict(zip(chosen, progress(results, "replay", len(seeds))))
    for name, replay in replays.items():
        compare_returns(replay, test["returns"][chosen[name]])
    write_films(folder, replays, load_world_model(run.logdir, torch.device("cpu")))
    write_paths(folder, replays)
    returns = ", ".join(f"{name} {replay.rewards.sum():.0f}" for name, replay in replays.items())
    log.info("replay: returns %s, filmed in %s/*.gif", returns, folder)


def choose_episodes(returns: list[float]) -> dict[str, int]:
    """Return the numbers of the episodes with the highest, the median and the lowest return."""
    order = np.argsort(returns, kind="stable")
    return {"best": int(order[-1]), "median": int(order[len(order) // 2]), "worst": int(order[0])}


def compare_returns(replay: Replay, tested: float) -> None:
    """Log the returns of the replay and of the tested episode if they differ."""
    replayed = float(replay.rewards.sum())
    if abs(tested - replayed) > 0.5:
        log.info("replay: seed %d: the test had %.1f, the replay %.1f", replay.seed, tested, replayed)


def film_replay(name: str, replay: Replay, world: WorldModel) -> list[Image.Image]:
    """Return the pictures of an episode's film."""
    z, actions = torch.from_numpy(replay.latents), torch.from_numpy(replay.actions)
    dreamt = dream_along(world, z, actions, STRETCH, SEED)
    shown = np.arange(0, len(z), EVERY)
    panels = {
        "what V sees": replay.frames[shown],
        "V's reconstruction": decode(world.vae, z[shown]),
        f"M's dream, woken every {STRETCH}": decode(world.vae, dreamt[shown]),
    }
    return_so_far = np.cumsum(replay.rewards)
    notes = [
        f"{name} episode (seed {replay.seed})   step {t:4d}   return so far {return_so_far[t]:5.0f}"
        f"   dreaming for {t % STRETCH:2d} steps"
        for t in shown
    ]
    return label_frames(panels, notes)


def write_films(folder: Path, replays: dict[str, Replay], world: WorldModel) -> None:
    """Write a film of each replay, and one that shows all replays."""
    films = {name: film_replay(name, replay, world) for name, replay in replays.items()}
    for name, film in films.items():
        write_film(folder / f"{name}.gif", film, FPS)
    write_film(folder / "films.png", stack_films(list(films.values())), FPS)


def write_paths(folder: Path, replays: dict[str, Replay]) -> None:
    """Write the path, the track and the rewards of each replay to replays.npz."""
    arrays = {}
    for name, replay in replays.items():
        arrays |= {f"{name}_path": replay.path, f"{name}_track": replay.track, f"{name}_rewards": replay.rewards}
    write_npz(folder / "replays.npz", arrays)


if __name__ == "__main__":
    run_program(make_parser(__doc__, EnvConfig), main)
