"""Measure M's training, sequence steps/s: our loop with its data, plain loops, and the machine's matrix products.

python -m bench.mdrnn --logdir results/carracing
"""

from argparse import Namespace
from collections.abc import Iterator

import numpy as np
import torch

from bench import baselines, measure, program
from bench.report import Goal, report
from worldmodels.data.sequences import LatentSequenceDataset
from worldmodels.models.mdrnn import MDRNN
from worldmodels.runtime.config import WMMDNRNNConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.training.mdrnn import MDRNNLearner

CONFIG = WMMDNRNNConfig()


def main(args: Namespace) -> None:
    device = choose_device(args.device)
    path = program.latents_file(args)
    data, long_sequences = LatentSequenceDataset(path, CONFIG.seq_len), LatentSequenceDataset(path, 64)
    ours = f"ours, {CONFIG.batch_size} sequences of {CONFIG.seq_len}"
    methods = {
        **measure.product_limits(device, measure.FLOP_TRAIN_MDRNN),
        ours: our_loop(data, device, args.seconds),
        "plain loop, 32 sequences of 64": plain_loop(long_sequences, 32, device, args.seconds),
        f"plain loop, single sequences of {CONFIG.seq_len}": plain_loop(data, 1, device, args.seconds),
    }
    goals = [Goal(ours, "matrix products, float32", 0.65)]
    rates = measure.alternate(methods, args.rounds)
    report(args, "M: training", "steps/s", rates, "matrix products, float32", goals)


def endless_batches(data: LatentSequenceDataset, batch_size: int) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches of sequences, epoch after epoch."""
    rng = np.random.default_rng(1)
    while True:
        yield from data.batches(batch_size, rng)


def make_network(data: LatentSequenceDataset, device: torch.device) -> tuple[MDRNN, torch.optim.Optimizer]:
    """Return an untrained M of the default size, and its optimizer."""
    mdrnn = MDRNN(data.latent_size, data.action_size, CONFIG.hidden_size, CONFIG.gmm_components).to(device)
    return mdrnn, torch.optim.RMSprop(mdrnn.parameters(), lr=1e-3, alpha=0.9)


def our_loop(data: LatentSequenceDataset, device: torch.device, seconds: float) -> measure.Method:
    """Return a measurement of our loop: latents in memory, drawn anew for every batch, and a step."""
    mdrnn, optimizer = make_network(data, device)
    rows = data.rows_per_batch(CONFIG.batch_size)
    learner = MDRNNLearner(mdrnn, optimizer, CONFIG, device, None, data.reward_scale, rows)
    steps = measure.TrainingSteps(learner.learn, endless_batches(data, CONFIG.batch_size))
    return lambda: measure.rate(steps, seconds)


def plain_loop(data: LatentSequenceDataset, batch_size: int, device: torch.device, seconds: float) -> measure.Method:
    """Return a measurement of the usual step, in float32, with the mixture by torch.distributions."""
    mdrnn, optimizer = make_network(data, device)
    batches = endless_batches(data, batch_size)

    def step() -> float:
        batch = {key: value.to(device) for key, value in next(batches).items()}
        baselines.mdrnn_step(mdrnn, optimizer, batch)
        return float((1 - batch["padding"]).sum())

    return lambda: measure.rate(step, seconds, device)


if __name__ == "__main__":
    parser = program.make_parser(__doc__)
    program.add_run_flags(parser)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="length of a measurement, seconds (default: %(default)s)"
    )
    program.run_benchmark(parser, main)
