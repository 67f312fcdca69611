#!/usr/bin/env python
"""Encoding the rollouts, frames/s: from files to the finished latents, against frame by frame and the machine's limits.

python bench/latents.py --logdir results/carracing
"""

import tempfile

import baselines
import common
import numpy as np
import torch
from common import FLOP_ENCODE, Goal

from worldmodels.data.latents import precompute_latents
from worldmodels.models.load_vae import load_vae
from worldmodels.models.vae import ConvVAE
from worldmodels.runtime.config import LatentsConfig
from worldmodels.runtime.devices import choose_device


def ours(vae: ConvVAE, files: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = common.clock()
        arrays = precompute_latents(vae, files, f"{folder}/latents.npz", LatentsConfig().encode_batch_size)
        return len(arrays["latents"]) / (common.clock() - start)


@torch.no_grad()
def frame_by_frame(vae: ConvVAE, file: str, device: torch.device) -> float:
    """A file read, then every frame encoded alone."""
    start = common.clock()
    frames = np.load(file)["observations"]
    for frame in frames:
        image = torch.from_numpy(frame).to(device).permute(2, 0, 1).unsqueeze(0).float() / 255
        mu, logsigma = baselines.encode(vae, image)
        mu.cpu(), logsigma.cpu()
    return len(frames) / (common.clock() - start)


def read(files: list[str]) -> float:
    """Frames/s of reading and inflating the files alone."""
    start = common.clock()
    count = sum(len(np.load(file)["observations"]) for file in files)
    return count / (common.clock() - start)


def main(args) -> None:
    device = choose_device(args.device)
    vae, _ = load_vae(f"{args.logdir}/vae/best.tar", device)
    files = common.rollout_files(args, most=args.files)
    methods = {
        **common.products(device, FLOP_ENCODE),
        "ours": lambda: ours(vae, files),
        "frame by frame": lambda: frame_by_frame(vae, files[0], device),
        "reading alone, one thread": lambda: read(files),
    }
    goals = [Goal("ours", "matrix products, float32", 0.70)]
    rates = common.alternate(methods, args.rounds)
    common.report(args, "Latents: encoding", "frames/s", rates, "matrix products, float32", goals)


if __name__ == "__main__":
    made = common.parser(__doc__)
    common.add_run(made)
    made.add_argument("--files", type=int, default=16, help="rollouts to encode (default: %(default)s)")
    common.main(made, main)
