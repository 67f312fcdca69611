"""Measure V's training, images/s: our loop with its data, plain loops, and the machine's matrix products.

python -m bench.vae --logdir results/carracing
"""

from argparse import Namespace
from collections.abc import Iterator

import numpy as np
import torch

from bench import baselines, measure, program
from bench.report import Goal, report
from worldmodels.data.datasets import ObservationDataset
from worldmodels.models.vae import ConvVAE
from worldmodels.runtime.devices import choose_device
from worldmodels.training.vae import VAELearner

BATCH_SIZE = 64


def main(args: Namespace) -> None:
    device = choose_device(args.device)
    files = program.rollout_files(args, limit=16)
    data = ObservationDataset(files=files)
    loaders = 0 if args.cpu_time else args.threads
    methods = {
        **measure.product_limits(device, measure.FLOP_TRAIN_VAE, args.seconds / 4),
        "ours": our_loop(data, device, args.seconds),
        "plain loop": plain_loop(data, device, args.seconds),
        "a file opened per item": loop_with_loader(files, device, args.seconds, loaders),
    }
    goals = [
        Goal("ours", "matrix products, float32", 0.60),
        Goal("ours", "plain loop", 1.6),
        Goal("ours", "a file opened per item", 10),
    ]
    rates = measure.alternate(methods, args.rounds)
    report(args, "V: training", "images/s", rates, "matrix products, float32", goals)


def endless_batches(data: ObservationDataset) -> Iterator[torch.Tensor]:
    """Yield batches (64,H,W,C) uint8, epoch after epoch."""
    rng = np.random.default_rng(1)
    while True:
        yield from data.batches(BATCH_SIZE, rng)


def our_loop(data: ObservationDataset, device: torch.device, seconds: float) -> measure.Method:
    """Return a measurement of our loop: uint8 frames in memory, drawn in random order, and a step."""
    vae = ConvVAE().to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
    steps = measure.TrainingSteps(VAELearner(vae, optimizer, 1.0, device).learn, endless_batches(data))
    return lambda: measure.rate(steps, seconds)


def plain_loop(data: ObservationDataset, device: torch.device, seconds: float) -> measure.Method:
    """Return a measurement of the plain network and step on frames in memory, in float32 and channels first."""
    vae = baselines.PlainVAE().to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    batches = endless_batches(data)

    def step() -> float:
        frames = next(batches)
        baselines.vae_step(vae, optimizer, frames.to(device).permute(0, 3, 1, 2).contiguous().float() / 255)
        return len(frames)

    return lambda: measure.rate(step, seconds, device)


def loop_with_loader(files: list[str], device: torch.device, seconds: float, workers: int) -> measure.Method:
    """Return a measurement of the plain network and step, with a Dataset that opens its file for every item.

    Args:
        files: rollouts.
        device: where the network runs.
        seconds: how long to measure.
        workers: loader processes. With 0 the batches are loaded in this process.
    """
    vae = baselines.PlainVAE().to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(
        baselines.FrameFiles(files),
        BATCH_SIZE,
        shuffle=True,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=1 if workers else None,
    )

    def method() -> float:
        batches = iter(loader)

        def step() -> float:
            images = next(batches)
            baselines.vae_step(vae, optimizer, images.to(device))
            return len(images)

        return measure.rate(step, seconds, device)

    return method


if __name__ == "__main__":
    parser = program.make_parser(__doc__)
    program.add_run_flags(parser)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="length of a measurement, seconds (default: %(default)s)"
    )
    program.run_benchmark(parser, main)
