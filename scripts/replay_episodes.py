#!/usr/bin/env python
"""Play the best, the median and the worst episode of the official test again, and film them.

Writes <logdir>/report/best.gif, median.gif and worst.gif: what V saw, its reconstruction, and what M dreams under the
same actions, shown the truth now and then; films.png shows all three. The paths driven go to replays.npz.
"""

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
from worldmodels.showing.films import label_frames, stack, write_film
from worldmodels.storage.files import prepare_folder, read_json
from worldmodels.storage.npz import write_npz

STRETCH = 100  # steps dreamt between two looks at the truth
EVERY = 5  # steps between two pictures
FPS = 12.5
SEED = 1  # of the dreams


def choose(returns: list[float]) -> dict[str, int]:
    """The numbers of the episodes with the highest, the median and the lowest return."""
    order = np.argsort(returns, kind="stable")
    return {"best": int(order[-1]), "median": int(order[len(order) // 2]), "worst": int(order[0])}


def film(name: str, episode: Replay, world: WorldModel) -> list[Image.Image]:
    z, actions = torch.from_numpy(episode.latents), torch.from_numpy(episode.actions)
    dreamt = dream_along(world, z, actions, STRETCH, SEED)
    shown = np.arange(0, len(z), EVERY)
    panels = {
        "what V sees": episode.frames[shown],
        "V's reconstruction": decode(world.vae, z[shown]),
        f"M's dream, woken every {STRETCH}": decode(world.vae, dreamt[shown]),
    }
    so_far = np.cumsum(episode.rewards)
    notes = [
        f"{name} episode (seed {episode.seed})   step {t:4d}   return so far {so_far[t]:5.0f}"
        f"   dreaming for {t % STRETCH:2d} steps"
        for t in shown
    ]
    return label_frames(panels, notes)


def main(args) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    folder = Path(run.logdir) / "report"
    prepare_folder(folder)
    test = read_json(f"{run.logdir}/eval.json", ("seeds", "returns"))
    chosen = choose(test["returns"])
    seeds = [test["seeds"][number] for number in chosen.values()]
    env = check_agent(run.logdir, env)
    count = max(1, min(len(seeds), args.threads))
    with worker_pool(count, start_player, AgentPlayer.load, run.logdir, env, run.device) as pool:
        replays = pool.map(partial(run_with_player, replay_episode), seeds)
        episodes = dict(zip(chosen, progress(replays, "replay", len(seeds))))
    world = load_world_model(run.logdir, torch.device("cpu"))
    arrays, films = {}, []
    for name, episode in episodes.items():
        official, again = test["returns"][chosen[name]], float(episode.rewards.sum())
        if abs(official - again) > 0.5:
            log.info("replay: seed %d: the test had %.1f, the replay %.1f", episode.seed, official, again)
        films.append(film(name, episode, world))
        write_film(folder / f"{name}.gif", films[-1], FPS)
        arrays |= {f"{name}_path": episode.path, f"{name}_track": episode.track, f"{name}_rewards": episode.rewards}
    write_film(folder / "films.png", stack(films), FPS)
    write_npz(folder / "replays.npz", arrays)
    said = ", ".join(f"{name} {episode.rewards.sum():.0f}" for name, episode in episodes.items())
    log.info("replay: returns %s, filmed in %s/*.gif", said, folder)


if __name__ == "__main__":
    run_program(make_parser(__doc__, EnvConfig), main)
