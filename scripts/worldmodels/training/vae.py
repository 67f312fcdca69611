"""V's training (paper, section 2.2 and appendix A.1)."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from worldmodels.data.datasets import ObservationDataset, share_memory
from worldmodels.data.episodes import check_split
from worldmodels.envs import seeding
from worldmodels.models.load_weights import load_weights
from worldmodels.models.precision import has_bfloat16
from worldmodels.models.vae import VAE, make_vae, to_images, vae_loss_terms
from worldmodels.runtime import interrupts
from worldmodels.runtime.config import WMVAEConfig
from worldmodels.runtime.curves import curves
from worldmodels.runtime.settings import result_values
from worldmodels.runtime.training_log import log_vae_epoch, warn_about_kl
from worldmodels.runtime.user_network import user_network_code
from worldmodels.training.graphed_step import GraphedStep, compile_for_gpu
from worldmodels.training.loop import PendingLosses, TrainingLoop
from worldmodels.training.samples import save_samples

LEAST_KL = 0.1  # nats per image; below it, all pictures have about the same code
COLOR_FRAMES = 4096  # frames that the mean color is taken from
VALIDATION_FRAMES = 4096


def train_vae(files: list[str], config: WMVAEConfig, seed: int, identity: str, device: torch.device) -> dict:
    """Train V, from config.start if that is given. The state to continue from and samples/ go to <logdir>/vae.

    Args:
        files: the rollouts, in order; the last config.num_test_files are held out.
        identity: stamp of the configuration, code and data; a saved state with another stamp is not continued.

    Returns:
        "best", what best.tar holds (state_dict, epoch, precision, config); "history", a row per epoch; and
        "start_steps", the environment steps that the start cost, as far as it tells.

    Raises:
        UserError: there are not more rollouts than config.num_test_files, or config.start does not suit V.
    """
    folder = Path(config.logdir) / "vae"
    train, test = load_frames(files, config)
    height, width, channels = train.group.observations.shape[1:]
    torch.manual_seed(seeding.integer_seed(seed, "vae/weights"))
    vae = make_vae(config.model, channels, config.latent_size, height, width).to(device)
    with user_network_code(vae):
        vae.start_at(mean_color(train.group.observations))
    start = load_weights(vae, config.start, "vae.start") if config.start else {}
    optimizer = torch.optim.Adam(vae.parameters(), lr=config.learning_rate, fused=True)
    loop = TrainingLoop(folder / "checkpoint.tar", identity, vae, optimizer, config)
    learner = VAELearner(vae, optimizer, config.beta, device)
    num_batches = count_batches(train, config)  # once: where not all files fit the memory, counting loads some

    if not config.num_epochs:  # V keeps the weights of config.start
        row = validate(learner, test, seed)
        loop.keep_weights(row["mse"] + config.beta * row["kl"])
    while not loop.over:
        epoch = loop.epoch + 1

        def batches(start: int, epoch: int = epoch) -> Iterator[torch.Tensor]:
            rng = seeding.generator(seed, "vae/order", epoch)
            return train.batches(config.train_batch_size, rng, config.images_per_epoch, start)

        vae.train()
        noise = seeding.integer_seed(seed, "vae/noise", epoch)
        with interrupts.patiently():
            row = loop.run_epoch("vae", noise, num_batches, batches, learner.learn)
            row["images"] = row.pop("count")
            row |= validate(learner, test, seed)
            precision = row["mse"] + config.beta * row["kl"]
            loop.finish_epoch({**row, "loss": precision}, precision)
        log_vae_epoch(loop.history[-1])
        if not config.nosamples and (epoch % config.sample_interval == 0 or epoch == config.num_epochs):
            save_samples(vae, test, folder / "samples", epoch, seed)
            curves.add_samples(folder / "samples", epoch)

    if loop.history and (kl := loop.history[loop.best["epoch"] - 1]["kl"]) < LEAST_KL:
        warn_about_kl(kl)
    sizes = {"img_channels": channels, "height": height, "width": width}
    best = {**loop.best, "config": sizes | result_values(config)}
    return {"best": best, "history": loop.history, "start_steps": start.get("env_steps", 0)}


def load_frames(files: list[str], config: WMVAEConfig) -> tuple[ObservationDataset, ObservationDataset]:
    """Return the frames to train on and the held-out ones.

    Without held-out files these are the same frames: the learning rate's schedule needs a validation loss.

    Raises:
        UserError: there are not more rollouts than config.num_test_files.
    """
    check_split(len(files), config.num_test_files)
    train_files, test_files = share_memory(files, config.memory_gb, config.num_test_files)
    split = {"files": files, "num_test_files": config.num_test_files}
    train = ObservationDataset(**split, buffer_size=train_files)
    if not config.num_test_files:
        return train, train
    return train, ObservationDataset(**split, train=False, buffer_size=test_files)


def mean_color(frames: np.ndarray) -> torch.Tensor:
    """Return the mean of each channel, (C,) in [0,1], over about COLOR_FRAMES of the frames (N,H,W,C) uint8."""
    sample = frames[:: math.ceil(len(frames) / COLOR_FRAMES)]
    return torch.from_numpy(sample.mean(axis=(0, 1, 2)) / 255).float()


def count_batches(dataset: ObservationDataset, config: WMVAEConfig) -> int:
    """Return the number of batches per epoch, for the progress bar.

    It is an estimate where the files do not fit the memory.
    """
    frames = int(len(dataset) / dataset.buffer_size * len(dataset.files))
    return math.ceil(min(frames, config.images_per_epoch or frames) / config.train_batch_size)


class VAELearner:
    """Computes V's losses on batches of frames, and takes a step of the optimizer on each.

    Products are in bfloat16 where the device multiplies it in hardware.

    Args:
        beta: weight of the KL term.
    """

    def __init__(self, vae: VAE, optimizer: torch.optim.Optimizer, beta: float, device: torch.device) -> None:
        self.vae, self.optimizer, self.beta, self.device = vae, optimizer, beta, device
        self.mixed = has_bfloat16(device)
        self.take_step = self.step
        if device.type == "cuda":  # on CPUs the compiled network was no faster
            compiled_step = partial(self.step, network=compile_for_gpu(vae))
            self.take_step = GraphedStep(compiled_step, optimizer, device, plain=self.step)

    def losses(self, frames: torch.Tensor, network: nn.Module | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the squared error and the KL divergence of uint8 frames (B,H,W,C), each summed over the batch.

        Args:
            network: V, or V compiled; V by default.
        """
        images = to_images(frames.to(self.device, non_blocking=True))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed), user_network_code(self.vae):
            reconst, mu, logsigma = (network or self.vae)(images)
        return vae_loss_terms(reconst.float(), images, mu.float(), logsigma.float())

    def step(self, frames: torch.Tensor, network: nn.Module | None = None) -> dict[str, torch.Tensor]:
        """Move the weights by the gradient of the mean loss per image; return the summed losses."""
        mse, kl = self.losses(frames, network)
        with user_network_code(self.vae):
            ((mse + self.beta * kl) / len(frames)).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)  # now, so that gradients and the next activations do not add up
        return {"train_mse": mse.detach(), "train_kl": kl.detach()}

    def learn(self, frames: torch.Tensor) -> PendingLosses:
        """Take a step, on a GPU as one CUDA graph; see TrainingLoop.run_epoch."""
        return PendingLosses(self.take_step(frames), len(frames))


@torch.inference_mode()
def validate(learner: VAELearner, test: ObservationDataset, seed: int) -> dict[str, float]:
    """Return the mean losses per image, mse and kl, over VALIDATION_FRAMES held-out frames, always the same ones."""
    learner.vae.eval()
    total = np.zeros(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.integer_seed(seed, "vae/validation"))
        for frames in test.batches(64, seeding.generator(seed, "vae/validation"), VALIDATION_FRAMES):
            mse, kl = learner.losses(frames)
            total += [mse.item(), kl.item(), len(frames)]
    mse, kl = (total[:2] / total[2]).tolist()
    return {"mse": mse, "kl": kl}
