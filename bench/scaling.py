#!/usr/bin/env python
"""Throughput with 1, 2, ... cores of every stage that uses several, and how much of it each further core adds.

python bench/scaling.py --logdir results/carracing
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import common
import controller
import mdrnn
import rollouts
import torch
import vae

from worldmodels.data.datasets import ObservationDataset
from worldmodels.data.sequences import LatentSequenceDataset
from worldmodels.envs.backends import choose_backend
from worldmodels.playing.evaluation import WIDTH, AgentPlayer
from worldmodels.playing.workers import run_with_player, start_player
from worldmodels.runtime.config import EnvConfig, RolloutsConfig, WMControllerConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.workers import worker_pool


def with_workers(args, cores: int) -> dict[str, float]:
    """Steps/s of the stages that play, on so many processes."""
    backend, ctrl = choose_backend(controller.ENV), WMControllerConfig(time_limit=args.steps)
    shard = RolloutsConfig(num_rollouts=rollouts.ANY, shard_size=16, seq_len=args.steps, gymnasium_share=0.0)
    found = {"environment alone": common.environment_rate(controller.ENV, backend, cores, args.steps)}
    with worker_pool(cores) as pool:
        rollouts.ours(pool, cores, replace(shard, shard_size=1, seq_len=10))
        found["rollouts"] = rollouts.ours(pool, cores, shard)
    candidates = controller.population(args.logdir, ctrl.sigma0)
    with controller.players(args.logdir, ctrl, args.device, cores) as pool:
        found["controller"] = controller.generation(pool, candidates, ctrl.lanes)
    env = EnvConfig(kwargs={"max_episode_steps": args.steps})
    with worker_pool(cores, start_player, AgentPlayer.load, args.logdir, env, args.device) as pool:
        list(pool.map(abs, range(100)))
        start = common.clock()
        pieces = [list(range(core, cores * WIDTH, cores)) for core in range(cores)]
        played = pool.map(partial(run_with_player, AgentPlayer.play), pieces)
        steps = sum(length for episodes in played for _, length in episodes.values())
        found["evaluation"] = steps / (common.clock() - start)
    return found


def with_threads(args, cores: int) -> dict[str, float]:
    """Images/s of V and steps/s of M, training on so many threads."""
    device = choose_device(args.device)
    torch.set_num_threads(cores)
    latents = next(iter(Path(args.logdir, "latents").glob("latents_*.npz")))
    frames = ObservationDataset(files=common.rollout_files(args, most=8))
    found = {
        "V": vae.ours(frames, device, args.seconds)(),
        "M": mdrnn.ours(LatentSequenceDataset(latents, mdrnn.CONFIG.seq_len), device, args.seconds)(),
        "matrix products, GFLOP/s": common.matrix_rate(device)() / 1e9,
    }
    torch.set_num_threads(args.threads)
    return found


def main(args) -> None:
    counts = sorted({min(2**i, args.threads) for i in range(args.threads.bit_length() + 1)})
    rounds = [{n: with_workers(args, n) | with_threads(args, n) for n in counts} for _ in range(args.rounds)]
    for row in rounds[0][1]:
        rates = {f"{row}, {n}": [found[n][row] for found in rounds] for n in counts}
        unit = "images/s" if row == "V" else "GFLOP/s" if "GFLOP" in row else "steps/s"
        common.table(f"Scaling: {row}", unit, rates, f"{row}, 1")
    everything = {f"{row}, {n}": [found[n][row] for found in rounds] for row in rounds[0][1] for n in counts}
    common.write(args, {"title": "Scaling", "rates": everything})


if __name__ == "__main__":
    made = common.parser(__doc__, rounds=1)
    common.add_run(made)
    made.add_argument("--steps", type=int, default=150, help="longest episode, steps (default: %(default)s)")
    made.add_argument("--seconds", type=float, default=3.0, help="of V's and M's measurement (default: %(default)s)")
    common.main(made, main)
