"""V's training (paper, section 2.2 and appendix A.1)."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from worldmodels.data.datasets import ObservationDataset, share_memory
from worldmodels.data.episodes import check_split
from worldmodels.envs import seeding
from worldmodels.models.precision import has_bfloat16
from worldmodels.models.vae import VAE, make_vae, to_images, vae_loss_terms
from worldmodels.runtime import interrupts
from worldmodels.runtime.config import WMVAEConfig
from worldmodels.runtime.settings import result_values
from worldmodels.runtime.training_log import log_vae_epoch, warn_about_kl
from worldmodels.runtime.user_network import user_network_code
from worldmodels.training.graphed_step import GraphedStep, compile_for_gpu
from worldmodels.training.loop import TrainingLoop
from worldmodels.training.samples import save_samples

LEAST_KL = 0.1  # per image; below, all pictures have about the same code


def train_vae(files: list[str], config: WMVAEConfig, seed: int, identity: str, device: torch.device) -> dict:
    """Train V; best.tar, checkpoint.tar and samples/ go to <logdir>/vae.

    Args:
        files: the rollouts, in order; the last config.num_test_files are held out.
        identity: stamp of the configuration, code and data; a saved state of another one is not continued.

    Returns:
        What best.tar holds (state_dict, epoch, precision, config) and the history of the epochs.

    Raises:
        UserError: there are not more rollouts than config.num_test_files.
    """
    check_split(len(files), config.num_test_files)
    folder = Path(config.logdir) / "vae"
    most, most_held_out = share_memory(files, config.memory_gb, config.num_test_files)
    split = {"files": files, "num_test_files": config.num_test_files}
    train = ObservationDataset(**split, buffer_size=most)
    # Without held-out files the training files are validated on: the schedule needs a loss.
    test = train
    if config.num_test_files:
        test = ObservationDataset(**split, train=False, buffer_size=most_held_out)
    height, width, channels = train.group.observations.shape[1:]
    count = batch_count(train, config)
    torch.manual_seed(seeding.number(seed, "vae/weights"))
    vae = make_vae(config.model, channels, config.latent_size, height, width).to(device)
    with user_network_code(vae):
        vae.start_at(mean_colour(train.group.observations))
    optimizer = torch.optim.Adam(vae.parameters(), lr=config.learning_rate, fused=True)
    training = TrainingLoop(folder / "checkpoint.tar", identity, vae, optimizer, config)

    losses, learn = batch_functions(vae, optimizer, config.beta, device)

    while not training.over:
        epoch = training.epoch + 1

        def batches(start: int, epoch: int = epoch) -> Iterator[torch.Tensor]:
            rng = seeding.generator(seed, "vae/order", epoch)
            return train.batches(config.train_batch_size, rng, config.images_per_epoch, start)

        vae.train()
        noise = seeding.number(seed, "vae/noise", epoch)
        with interrupts.patiently():
            row = training.run_epoch("vae", noise, count, batches, learn)
            row["images"] = row.pop("count")
            row |= validate(vae, losses, test, seed)
            precision = row["mse"] + config.beta * row["kl"]
            training.finish_epoch({**row, "loss": precision}, precision)
        log_vae_epoch(training.history[-1])
        if not config.nosamples and (epoch % config.sample_interval == 0 or epoch == config.num_epochs):
            save_samples(vae, test, folder / "samples", epoch, seed)

    kl = training.history[training.best["epoch"] - 1]["kl"]
    if kl < LEAST_KL:
        warn_about_kl(kl)
    sizes = {"img_channels": channels, "height": height, "width": width}
    return {"best": {**training.best, "config": sizes | result_values(config)}, "history": training.history}


def mean_colour(frames: np.ndarray) -> torch.Tensor:
    """The mean of each channel in [0,1] over some 4096 of the frames (N,H,W,C) uint8, (C,)."""
    some = frames[:: -(-len(frames) // 4096)]
    return torch.from_numpy(some.mean(axis=(0, 1, 2)) / 255).float()


def batch_functions(vae: VAE, optimizer: torch.optim.Optimizer, beta: float, device: torch.device) -> tuple:
    """What training does with a batch of uint8 frames (B,H,W,C).

    Returns:
        losses(frames): the squared error and KL, summed. learn(frames): takes a step on them; see Training.run_epoch.
    """
    mixed = has_bfloat16(device)

    def losses(frames: torch.Tensor, network: nn.Module = vae) -> tuple[torch.Tensor, torch.Tensor]:
        images = to_images(frames.to(device, non_blocking=True))
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed), user_network_code(vae):
            reconst, mu, logsigma = network(images)
        return vae_loss_terms(reconst.float(), images, mu.float(), logsigma.float())

    def step(frames: torch.Tensor, network: nn.Module = vae) -> dict[str, torch.Tensor]:
        mse, kl = losses(frames, network)
        with user_network_code(vae):
            ((mse + beta * kl) / len(frames)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # now, so that gradients and the next activations do not add up
        return {"train_mse": mse.detach(), "train_kl": kl.detach()}

    if device.type == "cuda":  # on CPUs the compiled network was no faster
        take = GraphedStep(partial(step, network=compile_for_gpu(vae)), optimizer, device, plain=step)
    else:
        take = step

    def learn(frames: torch.Tensor) -> Callable[[], dict[str, float]]:
        terms = take(frames)
        return lambda: {name: term.item() for name, term in terms.items()} | {"count": len(frames)}

    return losses, learn


def batch_count(dataset: ObservationDataset, config: WMVAEConfig) -> int:
    """Batches an epoch, for the progress bar; an estimate where the files do not fit the memory."""
    frames = int(len(dataset) / dataset.buffer_size * len(dataset.files))
    return -(-min(frames, config.images_per_epoch or frames) // config.train_batch_size)


@torch.inference_mode()
def validate(vae: VAE, losses, test: ObservationDataset, seed: int, limit: int = 4096) -> dict:
    """Mean loss terms per image over `limit` held-out frames, always the same ones."""
    vae.eval()
    total = np.zeros(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.number(seed, "vae/validation"))
        for frames in test.batches(64, seeding.generator(seed, "vae/validation"), limit):
            mse, kl = losses(frames)
            total += [mse.item(), kl.item(), len(frames)]
    mse, kl = (total[:2] / total[2]).tolist()
    return {"mse": mse, "kl": kl}
