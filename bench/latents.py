"""Measure the encoding of rollouts, frames/s: from files to latents, frame by frame, and the machine's limits.

python -m bench.latents --logdir results/carracing
"""

import tempfile
from argparse import Namespace

import numpy as np
import torch

from bench import baselines, measure, program
from bench.report import Goal, report
from worldmodels.data.latents import precompute_latents
from worldmodels.models.load_vae import load_vae
from worldmodels.models.vae import ConvVAE
from worldmodels.runtime.config import LatentsConfig
from worldmodels.runtime.devices import choose_device


def main(args: Namespace) -> None:
    device = choose_device(args.device)
    vae, _ = load_vae(f"{args.logdir}/vae/best.tar", device)
    files = program.rollout_files(args, limit=args.files)
    methods = {
        **measure.product_limits(device, measure.FLOP_ENCODE),
        "ours": lambda: encode_files(vae, files),
        "frame by frame": lambda: encode_frame_by_frame(vae, files[0], device),
        "reading alone, one thread": lambda: read_files(files),
    }
    goals = [Goal("ours", "matrix products, float32", 0.70)]
    rates = measure.alternate(methods, args.rounds)
    report(args, "Latents: encoding", "frames/s", rates, "matrix products, float32", goals)


def encode_files(vae: ConvVAE, files: list[str]) -> float:
    """Return the frames/s from the rollout files to the finished latents."""
    with tempfile.TemporaryDirectory() as folder:
        start = measure.clock()
        arrays = precompute_latents(vae, files, f"{folder}/latents.npz", LatentsConfig().encode_batch_size)
        return len(arrays["latents"]) / (measure.clock() - start)


@torch.no_grad()
def encode_frame_by_frame(vae: ConvVAE, file: str, device: torch.device) -> float:
    """Return the frames/s of reading a file and encoding each frame alone."""
    start = measure.clock()
    frames = np.load(file)["observations"]
    for frame in frames:
        image = torch.from_numpy(frame).to(device).permute(2, 0, 1).unsqueeze(0).float() / 255
        mu, logsigma = baselines.encode(vae, image)
        mu.cpu(), logsigma.cpu()
    return len(frames) / (measure.clock() - start)


def read_files(files: list[str]) -> float:
    """Return the frames/s of reading and inflating the files."""
    start = measure.clock()
    frames = sum(len(np.load(file)["observations"]) for file in files)
    return frames / (measure.clock() - start)


if __name__ == "__main__":
    parser = program.make_parser(__doc__)
    program.add_run_flags(parser)
    parser.add_argument("--files", type=int, default=16, help="rollouts to encode (default: %(default)s)")
    program.run_benchmark(parser, main)
