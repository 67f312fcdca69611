#!/usr/bin/env python
"""M's training, sequence steps/s: our loop with its data against plain loops and the machine's matrix-product rate.

python bench/mdrnn.py --logdir results/carracing
"""

from pathlib import Path

import baselines
import common
import numpy as np
import torch
from common import FLOP_TRAIN_MDRNN, Goal

from worldmodels.data.sequences import LatentSequenceDataset
from worldmodels.models.mdrnn import MDRNN
from worldmodels.runtime.config import WMMDNRNNConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.training.mdrnn import MDRNNLearner

CONFIG = WMMDNRNNConfig()


def endless(data: LatentSequenceDataset, batch_size: int):
    rng = np.random.default_rng(1)
    while True:
        yield from data.batches(batch_size, rng)


def network(data: LatentSequenceDataset, device: torch.device) -> tuple[MDRNN, torch.optim.Optimizer]:
    mdrnn = MDRNN(data.latent_size, data.action_size, CONFIG.hidden_size, CONFIG.gmm_components).to(device)
    return mdrnn, torch.optim.RMSprop(mdrnn.parameters(), lr=1e-3, alpha=0.9)


def ours(data: LatentSequenceDataset, device: torch.device, seconds: float) -> common.Method:
    """Our loop: latents in memory, drawn anew for every batch, and a step."""
    mdrnn, optimizer = network(data, device)
    rows = data.rows_per_batch(CONFIG.batch_size)
    learn = MDRNNLearner(mdrnn, optimizer, CONFIG, device, None, data.reward_scale, rows).learn
    step = common.learning(learn, endless(data, CONFIG.batch_size))
    return lambda: common.rate(step, seconds)


def plain(data: LatentSequenceDataset, batch_size: int, device: torch.device, seconds: float) -> common.Method:
    """The usual step, in float32, the mixture by torch.distributions."""
    mdrnn, optimizer = network(data, device)
    batches = endless(data, batch_size)

    def step() -> float:
        batch = {key: value.to(device) for key, value in next(batches).items()}
        baselines.mdrnn_step(mdrnn, optimizer, batch)
        return float((1 - batch["padding"]).sum())

    return lambda: common.rate(step, seconds, device)


def main(args) -> None:
    device = choose_device(args.device)
    latents = next(iter(Path(args.logdir, "latents").glob("latents_*.npz")))
    data = LatentSequenceDataset(latents, CONFIG.seq_len)
    long = LatentSequenceDataset(latents, 64)
    size, steps = CONFIG.batch_size, CONFIG.seq_len
    methods = {
        **common.products(device, FLOP_TRAIN_MDRNN),
        f"ours, {size} sequences of {steps}": ours(data, device, args.seconds),
        "plain loop, 32 sequences of 64": plain(long, 32, device, args.seconds),
        f"plain loop, single sequences of {steps}": plain(data, 1, device, args.seconds),
    }
    goals = [Goal(f"ours, {size} sequences of {steps}", "matrix products, float32", 0.65)]
    rates = common.alternate(methods, args.rounds)
    common.report(args, "M: training", "steps/s", rates, "matrix products, float32", goals)


if __name__ == "__main__":
    made = common.parser(__doc__)
    common.add_run(made)
    made.add_argument("--seconds", type=float, default=5.0, help="of a measurement (default: %(default)s)")
    common.main(made, main)
