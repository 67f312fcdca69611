#!/usr/bin/env python
"""V's training, images/s: our loop with its data against the plain loops and the machine's matrix-product rate.

python bench/vae.py --logdir results/carracing
"""

import baselines
import common
import numpy as np
import torch
from common import FLOP_TRAIN_VAE, Goal

from worldmodels.data.datasets import ObservationDataset
from worldmodels.models.vae import ConvVAE
from worldmodels.runtime.devices import choose_device
from worldmodels.training.vae import VAELearner

BATCH = 64


def ours(data: ObservationDataset, device: torch.device, seconds: float) -> common.Method:
    """Our loop: frames in memory as uint8, drawn in random order, and a step."""
    vae = ConvVAE().to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
    learn = VAELearner(vae, optimizer, 1.0, device).learn
    step = common.learning(learn, endless(data))
    return lambda: common.rate(step, seconds)


def endless(data: ObservationDataset):
    rng = np.random.default_rng(1)
    while True:
        yield from data.batches(BATCH, rng)


def plain(device: torch.device, seconds: float, data: ObservationDataset) -> common.Method:
    """The usual network and step on frames in memory, in float32 and channels first."""
    vae = baselines.PlainVAE().to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    batches = endless(data)

    def step() -> float:
        frames = next(batches)
        baselines.vae_step(vae, optimizer, frames.to(device).permute(0, 3, 1, 2).contiguous().float() / 255)
        return len(frames)

    return lambda: common.rate(step, seconds, device)


def per_item(files: list[str], device: torch.device, seconds: float, workers: int) -> common.Method:
    """The same with a Dataset that opens its file for every item, in loader processes."""
    vae = baselines.PlainVAE().to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(
        baselines.FrameFiles(files),
        BATCH,
        shuffle=True,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=1 if workers else None,
    )

    def measure() -> float:
        batches = iter(loader)

        def step() -> float:
            images = next(batches)
            baselines.vae_step(vae, optimizer, images.to(device))
            return len(images)

        return common.rate(step, seconds, device)

    return measure


def main(args) -> None:
    device = choose_device(args.device)
    files = common.rollout_files(args, most=16)
    data = ObservationDataset(files=files)
    methods = {
        **common.products(device, FLOP_TRAIN_VAE, args.seconds / 4),
        "ours": ours(data, device, args.seconds),
        "plain loop": plain(device, args.seconds, data),
        "a file opened per item": per_item(files, device, args.seconds, 0 if args.cpu_time else args.threads),
    }
    goals = [
        Goal("ours", "matrix products, float32", 0.60),
        Goal("ours", "plain loop", 1.6),
        Goal("ours", "a file opened per item", 10),
    ]
    rates = common.alternate(methods, args.rounds)
    common.report(args, "V: training", "images/s", rates, "matrix products, float32", goals)


if __name__ == "__main__":
    made = common.parser(__doc__)
    common.add_run(made)
    made.add_argument("--seconds", type=float, default=5.0, help="of a measurement (default: %(default)s)")
    common.main(made, main)
