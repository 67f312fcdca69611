"""M's training (paper, section 2.3 and appendix A.2)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from worldmodels import interrupts, seeding
from worldmodels.cli import log
from worldmodels.config import WMMDNRNNConfig
from worldmodels.graphs import GraphedStep
from worldmodels.mdrnn import MDRNN, get_loss
from worldmodels.sequences import LatentSequenceDataset, SequenceDataset
from worldmodels.settings import result_values
from worldmodels.training import Training
from worldmodels.vae import VAE, encode, has_bfloat16

PARTS = ("latents", "actions", "rewards", "terminals", "next_latents", "valid", "padding")  # of a batch


def train_mdrnn(
    train: LatentSequenceDataset | SequenceDataset,
    test: LatentSequenceDataset | SequenceDataset,
    config: WMMDNRNNConfig,
    seed: int,
    identity: str,
    device: torch.device,
    vae: VAE | None = None,
) -> dict:
    """Train M; checkpoint.tar, the state to continue from, goes to <logdir>/mdrnn.

    Args:
        train, test: sequences of precomputed latents, or of frames that vae then encodes batch by batch.
        identity: stamp of the configuration, code and data; a saved state of another one is not continued.

    Returns:
        What best.tar holds (state_dict, epoch, precision, config) and the history of the epochs.
    """
    torch.manual_seed(seeding.number(seed, "mdrnn/weights"))
    sizes = (config.latent_size, config.action_size, config.hidden_size, config.gmm_components)
    mdrnn = MDRNN(*sizes, config.cell, config.num_layers).to(device)
    optimizer = torch.optim.RMSprop(mdrnn.parameters(), lr=config.learning_rate, alpha=0.9)
    training = Training(Path(config.logdir) / "mdrnn" / "checkpoint.tar", identity, mdrnn, optimizer, config)

    count = -(-len(train) // config.batch_size)
    # Where rewards are large (100 for a landing) they would outweigh all latents; small ones weigh as they are.
    reward_scale = max(1.0, train.reward_scale)
    losses, learn = batch_functions(mdrnn, optimizer, config, device, vae, reward_scale)

    @torch.no_grad()
    def validate() -> dict[str, float]:
        torch.manual_seed(seeding.number(seed, "mdrnn/validation"))
        sums = [summed(batch, losses(batch)) for batch in test.batches(config.batch_size)]
        count = sum(part["count"] for part in sums)
        return {name: sum(part[name] for part in sums) / count for name in ("gmm", "bce", "mse", "loss")}

    if not config.num_epochs:  # the experiment with a random M
        training.keep_weights(validate()["loss"])
    while not training.over:
        epoch = training.epoch + 1

        def batches(start: int, epoch: int = epoch) -> Iterator[dict]:
            return train.batches(config.batch_size, seeding.generator(seed, "mdrnn/order", epoch), start)

        noise = seeding.number(seed, "mdrnn/noise", epoch)
        with interrupts.patiently():
            row = training.run_epoch("mdrnn", noise, count, batches, learn)
            row["sequences"] = row.pop("count")
            row |= validate()
            training.finish_epoch(row, row["loss"])
        log.info(
            "mdrnn: epoch %d: training %.4f, validation %.4f (latents %.2f, terminal %.5f, reward %.4f)",
            epoch, *(row[key] for key in ("train_loss", "loss", "gmm", "bce", "mse")),
        )  # fmt: skip

    sizes = {"latent_size": config.latent_size, "action_size": config.action_size}
    return {"best": {**training.best, "config": sizes | result_values(config)}, "history": training.history}


def batch_functions(
    mdrnn: MDRNN,
    optimizer: torch.optim.Optimizer,
    config: WMMDNRNNConfig,
    device: torch.device,
    vae: VAE | None,
    reward_scale: float,
) -> tuple:
    """What training does with a batch of sequences.

    Returns:
        losses(batch): as get_loss, of a batch of latents, or of frames if there is a vae to encode them. learn(batch):
        takes a step on them; see Training.run_epoch.
    """
    mixed = has_bfloat16(device)

    def parts(batch: dict) -> list[torch.Tensor]:
        if vae is not None:
            z = to_latent(vae, batch["frames"])
            batch = {**batch, "latents": z[:-1], "next_latents": z[1:]}
        return [batch[key] for key in PARTS]

    def terms(*inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        given = {key: tensor.to(device) for key, tensor in zip(PARTS, inputs)}
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            return get_loss(mdrnn, **given, include_reward=config.include_reward, reward_scale=reward_scale)

    def losses(batch: dict) -> dict[str, torch.Tensor]:
        return terms(*parts(batch))

    def step(*inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        found = terms(*inputs)
        optimizer.zero_grad(set_to_none=True)
        found["loss"].backward()
        nn.utils.clip_grad_norm_(mdrnn.parameters(), config.grad_clip)
        optimizer.step()
        return {name: term.detach() for name, term in found.items()}

    take = GraphedStep(step, optimizer, device) if device.type == "cuda" else step

    def learn(batch: dict) -> Callable[[], dict[str, float]]:
        found = take(*parts(batch))
        return lambda: summed(batch, found, "train_")

    return losses, learn


def summed(batch: dict, terms: dict[str, torch.Tensor], prefix: str = "") -> dict[str, float]:
    """Mean terms of a batch as sums over its sequences, and how many those are."""
    size = batch["valid"].shape[1]
    return {f"{prefix}{name}": value.item() * size for name, value in terms.items()} | {"count": size}


def to_latent(vae: VAE, frames: torch.Tensor) -> torch.Tensor:
    """uint8 frames (L,B,H,W,C) -> sampled z (L, B, latent_size), the noise drawn as for precomputed latents."""
    mu, logsigma = encode(vae, frames.flatten(0, 1))
    mu, logsigma = (part.unflatten(0, frames.shape[:2]).clone() for part in (mu, logsigma))
    return mu + logsigma.exp() * torch.randn_like(mu)
