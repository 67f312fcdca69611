#!/usr/bin/env python
"""Memory of V's training: its peak against the frames it holds, and its rate when frames stream within a budget.

    python bench/memory.py --logdir results/carracing          # 160,000 frames, streamed within a quarter of them
    python bench/memory.py --logdir results/carracing --frames 1000000 --budget-gb 3.2 --images 100000    # full size

Peaks are those that the kernel counts for scripts/train_vae.py; rates are of its loop. The run's rollouts stand for as
many as it takes to come to --frames: each reading inflates its file anew, but finds it in the page cache.
"""

import itertools
import os
import subprocess
import sys
import tempfile

import common
import numpy as np
import torch
from common import Goal

from worldmodels.data.datasets import ObservationDataset, share_memory
from worldmodels.models.vae import ConvVAE
from worldmodels.runtime.config import WMVAEConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.storage.npz import read_npz
from worldmodels.training.vae import VAELearner

FRAME_BYTES = 64 * 64 * 3
BATCH = WMVAEConfig().train_batch_size


def link_rollouts(args, folder: str) -> tuple[list[str], int]:
    """Links to the run's rollouts in the folder, until they hold --frames frames; and how many they do hold."""
    links, frames = [], 0
    for file in itertools.cycle(common.rollout_files(args)):
        links.append(f"{folder}/{len(links):05d}.npz")
        os.symlink(os.path.abspath(file), links[-1])
        frames += len(read_npz(file, ("rewards",))["rewards"])
        if frames >= args.frames:
            return links, frames


def peak(args, folder: str, memory_gb: float) -> float:
    """Bytes that scripts/train_vae.py takes at most."""
    with tempfile.TemporaryDirectory() as logdir:
        flags = {"data-dir": folder, "logdir": logdir, "memory-gb": memory_gb, "device": args.device}
        flags |= {"num-epochs": 1, "images-per-epoch": args.images // 8, "threads": args.threads}
        command = [sys.executable, str(common.ROOT / "scripts/train_vae.py")]
        command += [text for name, value in flags.items() for text in (f"--{name}", str(value))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(said)
    return usage.ru_maxrss * 1024.0


def training_rate(files: list[str], memory_gb: float, images: int, device: torch.device) -> common.Method:
    """Measures images/s over `images` of the loop; loading the first group is not counted, as it is done once."""
    data = ObservationDataset(files=files, buffer_size=share_memory(files, memory_gb)[0])
    vae = ConvVAE().to(device)
    learn = VAELearner(vae, torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True), 1.0, device).learn

    def measure() -> float:
        batches = data.batches(BATCH, np.random.default_rng(1), images + BATCH)
        learn(next(batches)).read()
        start = common.clock()
        count = sum(learn(frames).read()["count"] for frames in batches)
        common.synchronize(device)
        return count / (common.clock() - start)

    return measure


def main(args) -> None:
    device = choose_device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        files, frames = link_rollouts(args, folder)
        size = frames * FRAME_BYTES
        budget = args.budget_gb or size / 4e9
        # The kernel counts what this process holds as its children's too: peaks come first, while that is little.
        bytes_ = {"frames": [size], "budget": [budget * 1e9], "peak, streaming": [peak(args, folder, budget)]}
        allowed = [Goal("peak, streaming", "4 GiB", 1.0, at_most=True)]
        bytes_["4 GiB"] = [4 * 2.0**30]
        if size < 8e9:
            bytes_["peak, in memory"] = [peak(args, folder, 1e3)]
            allowed.append(Goal("peak, in memory", "frames", 1.3, at_most=True))
        # What is in memory at the rate that streaming is compared with: as much as fits 8 GB.
        held = files[: min(len(files), share_memory(files, 8)[0])]
        methods = {
            "in memory": training_rate(held, 1e3, args.images, device),
            "streaming": training_rate(files, budget, args.images, device),
        }
        rates = common.alternate(methods, args.rounds)
        goals = [Goal("streaming", "in memory", 0.80)]
        common.report(args, f"V: {frames:,} frames within {budget:.2g} GB", "images/s", rates, "in memory", goals)
    title = "V: peak memory"
    common.report(
        args, title, "bytes", bytes_, "frames", allowed, speed={"rates": rates, "goal": goals[0].judge(rates)}
    )


if __name__ == "__main__":
    made = common.parser(__doc__, rounds=2)
    common.add_run(made)
    made.add_argument("--frames", type=int, default=160_000, help="frames (default: %(default)s)")
    made.add_argument("--budget-gb", type=float, help="memory for frames when streaming (default: a quarter of them)")
    made.add_argument("--images", type=int, default=8_192, help="images a measurement (default: %(default)s)")
    common.main(made, main)
