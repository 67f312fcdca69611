"""Measure the memory of V's training: its peak, and the rate when frames stream within a budget.

    python -m bench.memory --logdir results/carracing     # 160,000 frames, streamed within a quarter of their size
    python -m bench.memory --logdir results/carracing --frames 1000000 --budget-gb 3.2 --images 100000    # full size

Peaks are those that the kernel counts for scripts/train_vae.py. Rates are of the training loop. The run's rollouts are
repeated until they hold --frames frames. Each reading inflates its file anew, but finds it in the page cache.
"""

import itertools
import os
import subprocess
import sys
import tempfile
from argparse import Namespace

import numpy as np
import torch

from bench import ROOT, measure, program
from bench.report import Goal, report
from worldmodels.data.datasets import ObservationDataset, share_memory
from worldmodels.models.vae import ConvVAE
from worldmodels.runtime.config import WMVAEConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.storage.npz import read_npz
from worldmodels.training.vae import VAELearner

FRAME_BYTES = 64 * 64 * 3
BATCH_SIZE = WMVAEConfig().train_batch_size
UNLIMITED_GB = 1e3  # more than any frames take
MEMORY_GB = 8  # frames that are held in memory at most


def main(args: Namespace) -> None:
    device = choose_device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        files, frames = link_rollouts(args, folder)
        size = frames * FRAME_BYTES
        budget = args.budget_gb or size / 4e9
        # The kernel counts what this process holds as its children's memory, too. So the peaks come first.
        peaks, peak_goals = measure_peaks(args, folder, size, budget)
        in_memory = files[: min(len(files), share_memory(files, MEMORY_GB)[0])]
        methods = {
            "in memory": training_rate(in_memory, UNLIMITED_GB, args.images, device),
            "streaming": training_rate(files, budget, args.images, device),
        }
        rates = measure.alternate(methods, args.rounds)
    goal = Goal("streaming", "in memory", 0.80)
    report(args, f"V: {frames:,} frames within {budget:.2g} GB", "images/s", rates, "in memory", [goal])
    speed = {"rates": rates, "goal": goal.judge(rates)}
    report(args, "V: peak memory", "bytes", peaks, "frames", peak_goals, speed=speed)


def link_rollouts(args: Namespace, folder: str) -> tuple[list[str], int]:
    """Link the run's rollouts into the folder until they hold --frames frames. Return the links and their frames."""
    links, frames = [], 0
    for file in itertools.cycle(program.rollout_files(args)):
        links.append(f"{folder}/{len(links):05d}.npz")
        os.symlink(os.path.abspath(file), links[-1])
        frames += len(read_npz(file, ("rewards",))["rewards"])
        if frames >= args.frames:
            break
    return links, frames


def measure_peaks(args: Namespace, folder: str, size: int, budget: float) -> tuple[dict[str, list[float]], list[Goal]]:
    """Return the peaks, bytes, and their goals. With few frames the peak with all frames in memory is among them.

    Args:
        args: the program's flags.
        folder: the rollouts.
        size: of all frames, bytes.
        budget: memory for frames when they stream, GB.
    """
    peaks = {
        "frames": [float(size)],
        "budget": [budget * 1e9],
        "peak, streaming": [training_peak(args, folder, budget)],
        "4 GiB": [4 * 2.0**30],
    }
    goals = [Goal("peak, streaming", "4 GiB", 1.0, at_most=True)]
    if size < MEMORY_GB * 1e9:
        peaks["peak, in memory"] = [training_peak(args, folder, UNLIMITED_GB)]
        goals.append(Goal("peak, in memory", "frames", 1.3, at_most=True))
    return peaks, goals


def training_peak(args: Namespace, folder: str, memory_gb: float) -> float:
    """Return the peak memory of scripts/train_vae.py, bytes."""
    with tempfile.TemporaryDirectory() as logdir:
        flags = {"data-dir": folder, "logdir": logdir, "memory-gb": memory_gb, "device": args.device}
        flags |= {"num-epochs": 1, "images-per-epoch": args.images // 8, "threads": args.threads}
        command = [sys.executable, str(ROOT / "scripts/train_vae.py")]
        command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        messages = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(messages)
    return usage.ru_maxrss * 1024.0


def training_rate(files: list[str], memory_gb: float, images: int, device: torch.device) -> measure.Method:
    """Return a measurement of the training loop, images/s. Loading the first group of files is not counted.

    Args:
        files: rollouts.
        memory_gb: memory for frames, GB.
        images: how many images to learn from.
        device: where V runs.
    """
    data = ObservationDataset(files=files, buffer_size=share_memory(files, memory_gb)[0])
    vae = ConvVAE().to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
    learner = VAELearner(vae, optimizer, 1.0, device)

    def method() -> float:
        batches = data.batches(BATCH_SIZE, np.random.default_rng(1), images + BATCH_SIZE)
        learner.learn(next(batches)).read()
        start = measure.clock()
        learned = sum(learner.learn(frames).read()["count"] for frames in batches)
        measure.synchronize(device)
        return learned / (measure.clock() - start)

    return method


if __name__ == "__main__":
    parser = program.make_parser(__doc__, rounds=2)
    program.add_run_flags(parser)
    parser.add_argument("--frames", type=int, default=160_000, help="frames (default: %(default)s)")
    parser.add_argument(
        "--budget-gb", type=float, help="memory for frames when they stream, GB (default: a quarter of their size)"
    )
    parser.add_argument("--images", type=int, default=8_192, help="images per measurement (default: %(default)s)")
    program.run_benchmark(parser, main)
