"""M's training (paper, section 2.3 and appendix A.2)."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from worldmodels.data.sequences import LatentSequenceDataset, SequenceDataset
from worldmodels.envs import seeding
from worldmodels.models.encoding import encode
from worldmodels.models.load_weights import load_weights
from worldmodels.models.mdrnn import MDRNN, loss_scale, mean_losses, sum_losses, sum_prediction_losses, total_loss
from worldmodels.models.precision import has_bfloat16
from worldmodels.models.vae import VAE
from worldmodels.runtime import interrupts
from worldmodels.runtime.config import WMMDNRNNConfig
from worldmodels.runtime.detection import Detection
from worldmodels.runtime.settings import result_values
from worldmodels.runtime.training_log import log_mdrnn_epoch
from worldmodels.training.graphed_step import GraphedStep
from worldmodels.training.loop import PendingLosses, TrainingLoop

# The tensors of a batch, in the order in which a CUDA graph takes them.
BATCH_KEYS = ("latents", "actions", "rewards", "terminals", "next_latents", "valid", "padding")


def train_mdrnn(
    train: LatentSequenceDataset | SequenceDataset,
    test: LatentSequenceDataset | SequenceDataset,
    config: WMMDNRNNConfig,
    seed: int,
    identity: str,
    device: torch.device,
    vae: VAE | None = None,
) -> dict:
    """Train M, from config.start if that is given. The state to continue from goes to <logdir>/mdrnn.

    Args:
        train, test: sequences of precomputed latents, or of frames that vae then encodes batch by batch.
        identity: stamp of the configuration, code and data; a saved state with another stamp is not continued.

    Returns:
        "best", what best.tar holds (state_dict, epoch, precision, config); "history", a row per epoch; and "endings",
        the Detection of the best weights in the sequences of test.

    Raises:
        UserError: config.start does not suit M.
    """
    torch.manual_seed(seeding.integer_seed(seed, "mdrnn/weights"))
    sizes = (config.latent_size, config.action_size, config.hidden_size, config.gmm_components)
    mdrnn = MDRNN(*sizes, config.cell, config.num_layers).to(device)
    if config.start:
        load_weights(mdrnn, config.start, "mdrnn.start")
    optimizer = torch.optim.RMSprop(mdrnn.parameters(), lr=config.learning_rate, alpha=0.9)
    loop = TrainingLoop(Path(config.logdir) / "mdrnn" / "checkpoint.tar", identity, mdrnn, optimizer, config)
    # Large rewards, such as 100 for a landing, would outweigh all latents. Small rewards are not scaled.
    reward_scale = max(1.0, train.reward_scale)
    rows = train.rows_per_batch(config.batch_size)
    learner = MDRNNLearner(mdrnn, optimizer, config, device, vae, reward_scale, rows)
    num_batches = train.num_batches(config.batch_size)  # once: where not all files fit the memory, counting loads some

    if not config.num_epochs:  # M stays random, or keeps the weights of config.start
        loop.keep_weights(validate(learner, test, seed)[0]["loss"])
    while not loop.over:
        epoch = loop.epoch + 1

        def batches(start: int, epoch: int = epoch) -> Iterator[dict[str, torch.Tensor]]:
            return train.batches(config.batch_size, seeding.generator(seed, "mdrnn/order", epoch), start)

        noise = seeding.integer_seed(seed, "mdrnn/noise", epoch)
        with interrupts.patiently():
            sums = loop.run_epoch("mdrnn", noise, num_batches, batches, learner.learn)
            row = {"steps": sums.pop("count")}
            training_losses = learner.mean_losses({**sums, "steps": 1.0})
            row |= {f"train_{name}": mean for name, mean in training_losses.items()}
            losses, endings = validate(learner, test, seed)
            row |= losses | {name: getattr(endings, name) for name in ("endings", "predicted", "hits")}
            loop.finish_epoch(row, row["loss"])
        log_mdrnn_epoch(loop.history[-1])

    sizes = {"latent_size": config.latent_size, "action_size": config.action_size}
    mdrnn.load_state_dict(loop.best["state_dict"])
    best = {**loop.best, "config": sizes | result_values(config)}
    return {"best": best, "history": loop.history, "endings": validate(learner, test, seed)[1]}


class MDRNNLearner:
    """Computes M's losses on batches of sequences, and takes a step of the optimizer on each.

    Products are in bfloat16 where the device multiplies it in hardware.

    Args:
        vae: encodes the frames of a batch; None where batches hold latents.
        reward_scale: what the reward's errors are divided by before they are squared.
        rows: what the summed loss of every batch is divided by: the rows that count in a full batch, on average. So
            each row weighs the same, however much padding and however few sequences share its batch.
    """

    def __init__(
        self,
        mdrnn: MDRNN,
        optimizer: torch.optim.Optimizer,
        config: WMMDNRNNConfig,
        device: torch.device,
        vae: VAE | None,
        reward_scale: float,
        rows: float,
    ) -> None:
        self.mdrnn, self.optimizer, self.config, self.device, self.vae = mdrnn, optimizer, config, device, vae
        self.reward_scale = reward_scale
        self.divisor = rows * loss_scale(mdrnn.latents, config.include_reward)
        self.mixed = has_bfloat16(device)
        self.take_step = GraphedStep(self.step, optimizer, device) if device.type == "cuda" else self.step

    def tensors(self, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Return the tensors of a batch in the order of BATCH_KEYS, its frames encoded if there is a vae."""
        if self.vae is not None:
            z = sample_latents(self.vae, batch["frames"])
            batch = {**batch, "latents": z[:-1], "next_latents": z[1:]}
        return [batch[key] for key in BATCH_KEYS]

    def sum_losses(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the losses of a batch, see models.mdrnn.sum_losses; the tensors are in the order of BATCH_KEYS."""
        batch = {key: tensor.to(self.device) for key, tensor in zip(BATCH_KEYS, tensors)}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            return sum_losses(self.mdrnn, batch, self.config.include_reward, self.reward_scale)

    def validation_sums(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the losses of a batch, see models.mdrnn.sum_losses, and endings, predicted and hits of a Detection."""
        tensors = {key: tensor.to(self.device) for key, tensor in zip(BATCH_KEYS, self.tensors(batch))}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            predictions = self.mdrnn(tensors["actions"], tensors["latents"])
            sums = sum_prediction_losses(predictions, tensors, self.config.include_reward, self.reward_scale)
        inside = tensors["padding"] == 0
        endings, predicted = (tensors["terminals"] > 0) & inside, (predictions[-1] > 0) & inside
        return sums | {"endings": endings.sum(), "predicted": predicted.sum(), "hits": (endings & predicted).sum()}

    def mean_losses(self, sums: dict[str, float]) -> dict[str, float]:
        """Return gmm, bce, mse and loss from the sums over some batches."""
        return mean_losses(sums, self.mdrnn.latents, self.config.include_reward, self.config.terminal_weight)

    def step(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Move the weights by the gradient of the losses per row; return the summed losses."""
        sums = self.sum_losses(*tensors)
        self.optimizer.zero_grad(set_to_none=True)
        (total_loss(sums, self.config.terminal_weight) / self.divisor).backward()
        nn.utils.clip_grad_norm_(self.mdrnn.parameters(), self.config.grad_clip)
        self.optimizer.step()
        return {name: loss.detach() for name, loss in sums.items()}

    def learn(self, batch: dict[str, torch.Tensor]) -> PendingLosses:
        """Take a step, on a GPU as one CUDA graph; see TrainingLoop.run_epoch. The count is the number of rows."""
        sums = dict(self.take_step(*self.tensors(batch)))
        rows = sums.pop("steps")
        return PendingLosses(sums, rows)


@torch.no_grad()
def validate(
    learner: MDRNNLearner, test: LatentSequenceDataset | SequenceDataset, seed: int
) -> tuple[dict[str, float], Detection]:
    """Validate M on all sequences, always with the same noise.

    Returns:
        The mean losses, gmm, bce, mse and loss, and how M finds the endings.
    """
    torch.manual_seed(seeding.integer_seed(seed, "mdrnn/validation"))
    batches = [
        {name: number.item() for name, number in learner.validation_sums(batch).items()}
        for batch in test.batches(learner.config.batch_size)
    ]
    sums = {name: sum(batch[name] for batch in batches) for name in batches[0]}
    return learner.mean_losses(sums), Detection(*(int(sums[name]) for name in Detection._fields))


def sample_latents(vae: VAE, frames: torch.Tensor) -> torch.Tensor:
    """Return sampled z (L, B, latent_size) of uint8 frames (L,B,H,W,C), with noise drawn as for precomputed latents."""
    mu, logsigma = (tensor.unflatten(0, frames.shape[:2]).clone() for tensor in encode(vae, frames.flatten(0, 1)))
    return mu + logsigma.exp() * torch.randn_like(mu)
