"""M's training (paper, section 2.3 and appendix A.2)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from worldmodels.data.sequences import LatentSequenceDataset, SequenceDataset
from worldmodels.envs import seeding
from worldmodels.models.encoding import encode
from worldmodels.models.mdrnn import MDRNN, loss_scale, mean_losses, sum_losses
from worldmodels.models.precision import has_bfloat16
from worldmodels.models.vae import VAE
from worldmodels.runtime import interrupts
from worldmodels.runtime.config import WMMDNRNNConfig
from worldmodels.runtime.settings import result_values
from worldmodels.runtime.training_log import log_mdrnn_epoch
from worldmodels.training.graphed_step import GraphedStep
from worldmodels.training.loop import TrainingLoop

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
    training = TrainingLoop(Path(config.logdir) / "mdrnn" / "checkpoint.tar", identity, mdrnn, optimizer, config)

    count = train.num_batches(config.batch_size)
    # Where rewards are large (100 for a landing) they would outweigh all latents; small ones weigh as they are.
    reward_scale = max(1.0, train.reward_scale)
    rows = train.rows_per_batch(config.batch_size)
    losses, learn = batch_functions(mdrnn, optimizer, config, device, vae, reward_scale, rows)

    def means(sums: dict[str, float]) -> dict[str, float]:
        return mean_losses(sums, mdrnn.latents, config.include_reward)

    @torch.no_grad()
    def validate() -> dict[str, float]:
        torch.manual_seed(seeding.number(seed, "mdrnn/validation"))
        sums = [to_numbers(losses(batch)) for batch in test.batches(config.batch_size)]
        return means({name: sum(part[name] for part in sums) for name in sums[0]})

    if not config.num_epochs:  # the experiment with a random M
        training.keep_weights(validate()["loss"])
    while not training.over:
        epoch = training.epoch + 1

        def batches(start: int, epoch: int = epoch) -> Iterator[dict]:
            return train.batches(config.batch_size, seeding.generator(seed, "mdrnn/order", epoch), start)

        noise = seeding.number(seed, "mdrnn/noise", epoch)
        with interrupts.patiently():
            sums = training.run_epoch("mdrnn", noise, count, batches, learn)
            row = {"steps": sums.pop("count")}
            row |= {f"train_{name}": mean for name, mean in means({**sums, "steps": 1.0}).items()}
            row |= validate()
            training.finish_epoch(row, row["loss"])
        log_mdrnn_epoch(training.history[-1])

    sizes = {"latent_size": config.latent_size, "action_size": config.action_size}
    return {"best": {**training.best, "config": sizes | result_values(config)}, "history": training.history}


def batch_functions(
    mdrnn: MDRNN,
    optimizer: torch.optim.Optimizer,
    config: WMMDNRNNConfig,
    device: torch.device,
    vae: VAE | None,
    reward_scale: float,
    rows: float,
) -> tuple:
    """What training does with a batch of sequences.

    Args:
        rows: what the summed loss of every batch is divided by: the rows that count in a full batch, on average. So
            each row weighs the same, however much padding and however few sequences share its batch.

    Returns:
        losses(batch): as sum_losses, of a batch of latents, or of frames if there is a vae to encode them.
        learn(batch): takes a step on them; see Training.run_epoch. Its `count` is the number of rows.
    """
    mixed = has_bfloat16(device)
    scale = loss_scale(mdrnn.latents, config.include_reward)

    def parts(batch: dict) -> list[torch.Tensor]:
        if vae is not None:
            z = to_latent(vae, batch["frames"])
            batch = {**batch, "latents": z[:-1], "next_latents": z[1:]}
        return [batch[key] for key in PARTS]

    def terms(*inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        given = {key: tensor.to(device) for key, tensor in zip(PARTS, inputs)}
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            return sum_losses(mdrnn, **given, include_reward=config.include_reward, reward_scale=reward_scale)

    def losses(batch: dict) -> dict[str, torch.Tensor]:
        return terms(*parts(batch))

    def step(*inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        sums = terms(*inputs)
        optimizer.zero_grad(set_to_none=True)
        ((sums["gmm"] + sums["bce"] + sums["mse"]) / (rows * scale)).backward()
        nn.utils.clip_grad_norm_(mdrnn.parameters(), config.grad_clip)
        optimizer.step()
        return {name: term.detach() for name, term in sums.items()}

    take = GraphedStep(step, optimizer, device) if device.type == "cuda" else step

    def learn(batch: dict) -> Callable[[], dict[str, float]]:
        sums = take(*parts(batch))

        def account() -> dict[str, float]:
            numbers = to_numbers(sums)
            return numbers | {"count": numbers.pop("steps")}

        return account

    return losses, learn


def to_numbers(terms: dict[str, torch.Tensor]) -> dict[str, float]:
    """Return the tensors () as numbers; a GPU is waited for."""
    return {name: term.item() for name, term in terms.items()}


def to_latent(vae: VAE, frames: torch.Tensor) -> torch.Tensor:
    """uint8 frames (L,B,H,W,C) -> sampled z (L, B, latent_size), the noise drawn as for precomputed latents."""
    mu, logsigma = encode(vae, frames.flatten(0, 1))
    mu, logsigma = (part.unflatten(0, frames.shape[:2]).clone() for part in (mu, logsigma))
    return mu + logsigma.exp() * torch.randn_like(mu)
