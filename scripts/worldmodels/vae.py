"""V: the convolutional variational auto-encoder (paper, section 2.2 and appendix A.1)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from worldmodels import checkpoint, interrupts, seeding
from worldmodels.cli import log
from worldmodels.config import WMVAEConfig
from worldmodels.datasets import ObservationDataset, buffer_files
from worldmodels.settings import UserError, result_values
from worldmodels.training import Training


class ConvVAEEncoder(nn.Module):
    """Images (B,C,64,64) in [0,1] -> mu, logsigma, both (B, latent_size); sigma is the standard deviation."""

    def __init__(self, img_channels: int, latent_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(img_channels, 32, 4, stride=2)
        self.conv2 = nn.Conv2d(32, 64, 4, stride=2)
        self.conv3 = nn.Conv2d(64, 128, 4, stride=2)
        self.conv4 = nn.Conv2d(128, 256, 4, stride=2)
        self.fc_mu = nn.Linear(2 * 2 * 256, latent_size)
        self.fc_logsigma = nn.Linear(2 * 2 * 256, latent_size)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.relu(conv(x))
        x = x.flatten(1)
        return self.fc_mu(x), self.fc_logsigma(x)


class ConvVAEDecoder(nn.Module):
    """Latents (B, latent_size) -> images (B,C,64,64) in [0,1]."""

    def __init__(self, img_channels: int, latent_size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(latent_size, 1024)
        self.deconv1 = nn.ConvTranspose2d(1024, 128, 5, stride=2)
        self.deconv2 = nn.ConvTranspose2d(128, 64, 5, stride=2)
        self.deconv3 = nn.ConvTranspose2d(64, 32, 6, stride=2)
        self.deconv4 = nn.ConvTranspose2d(32, img_channels, 6, stride=2)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.fc(z))
        # A transposed convolution of a 1x1 map is a matrix product; torch's convolution takes ten times as long.
        # The product is laid out with channels last, as the rest of the network wants it.
        weight = self.deconv1.weight.permute(0, 2, 3, 1)
        x = (x @ weight.flatten(1)).unflatten(1, weight.shape[1:]).permute(0, 3, 1, 2)
        x = F.relu(x + self.deconv1.bias.view(1, -1, 1, 1))
        x = F.relu(self.deconv2(x))
        x = F.relu(self.deconv3(x))
        return torch.sigmoid(self.deconv4(x))


class ConvVAE(nn.Module):
    """Encoder and decoder; forward: x -> (reconstruction of a sampled z, mu, logsigma)."""

    def __init__(self, img_channels: int = 3, latent_size: int = 32) -> None:
        super().__init__()
        self.encoder = ConvVAEEncoder(img_channels, latent_size)
        self.decoder = ConvVAEDecoder(img_channels, latent_size)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mu, logsigma = self.encoder(x)
        z = mu + logsigma.exp() * torch.randn_like(mu)
        return self.decoder(z), mu, logsigma


def conv_vae_loss_fn(
    reconst: torch.Tensor, x: torch.Tensor, mu: torch.Tensor, logsigma: torch.Tensor, beta: float = 1.0
) -> torch.Tensor:
    """Squared error plus beta times KL(N(mu, sigma) || N(0, 1)), both summed over the whole batch (a scalar)."""
    mse, kl = loss_terms(reconst, x, mu, logsigma)
    return mse + beta * kl


def loss_terms(reconst, x, mu, logsigma) -> tuple[torch.Tensor, torch.Tensor]:
    """The two summed terms of the loss; logsigma is the logarithm of the standard deviation."""
    mse = F.mse_loss(reconst, x, reduction="sum")
    kl = -0.5 * torch.sum(1 + 2 * logsigma - mu.pow(2) - (2 * logsigma).exp())
    return mse, kl


def to_images(frames: torch.Tensor) -> torch.Tensor:
    """uint8 frames (B,H,W,C) -> float images (B,C,H,W) in [0,1], in channels-last memory."""
    return frames.permute(0, 3, 1, 2).float().div_(255)


def load_vae(path: str | Path, device: torch.device | str = "cpu") -> tuple[ConvVAE, dict]:
    """The trained network in evaluation mode, and its checkpoint."""
    saved = checkpoint.load(path, ("state_dict", "config"))
    try:
        vae = ConvVAE(saved["config"]["img_channels"], saved["config"]["latent_size"])
        vae.load_state_dict(saved["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: expected V's checkpoint, found another ({str(error).splitlines()[0]})") from None
    return vae.to(device).eval().requires_grad_(False), saved


@torch.inference_mode()
def encode(vae: ConvVAE, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 frames (B,H,W,C) on any device -> mu, logsigma (B, latent_size) float32 on V's device."""
    device = vae.encoder.fc_mu.weight.device
    images = to_images(frames.to(device, non_blocking=True))
    # Below 8 frames casting the weights takes longer than it saves.
    with torch.autocast(device.type, torch.bfloat16, enabled=len(frames) >= 8 and has_bfloat16(device)):
        mu, logsigma = vae.encoder(images)
    return mu.float(), logsigma.float()


def train_vae(files: list[str], config: WMVAEConfig, seed: int, identity: str, device: torch.device) -> dict:
    """Train V; best.tar, checkpoint.tar and samples/ go to <logdir>/vae.

    Args:
        files: the rollouts, in order; the last config.num_test_files are held out.
        identity: stamp of the configuration, code and data; a saved state of another one is not continued.

    Returns:
        What best.tar holds (state_dict, epoch, precision, config) and the history of the epochs.
    """
    folder = Path(config.logdir) / "vae"
    budget = buffer_files(files, config.memory_gb)
    train = ObservationDataset(files=files, num_test_files=config.num_test_files, buffer_size=budget)
    # Without held-out files the training files are validated on: the schedule needs a loss.
    test = ObservationDataset(
        files=files, num_test_files=config.num_test_files, train=config.num_test_files == 0, buffer_size=budget
    )
    channels = train.group.observations.shape[-1]
    count = batch_count(train, config)
    torch.manual_seed(seeding.number(seed, "vae/weights"))
    vae = ConvVAE(channels, config.latent_size).to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=config.learning_rate, fused=True)
    training = Training(folder / "checkpoint.tar", identity, vae, optimizer, config)

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
        log.info(
            "vae: epoch %d: training %.2f + %.2f, validation %.2f + %.2f per image (squared error + KL)",
            epoch, row["train_mse"], row["train_kl"], row["mse"], row["kl"],
        )  # fmt: skip
        if not config.nosamples and (epoch % config.sample_interval == 0 or epoch == config.num_epochs):
            save_samples(vae, test, folder / "samples", epoch, seed)

    sizes = {"img_channels": channels, "height": config.height, "width": config.width}
    return {"best": {**training.best, "config": sizes | result_values(config)}, "history": training.history}


def batch_functions(vae: ConvVAE, optimizer: torch.optim.Optimizer, beta: float, device: torch.device) -> tuple:
    """What training does with a batch of uint8 frames (B,H,W,C).

    Returns:
        losses(frames): the squared error and KL, summed. learn(frames): the same after a step on them, as a row.
    """
    step = torch.compile(vae) if device.type == "cuda" else vae  # on CPUs the compiled network was no faster
    mixed = has_bfloat16(device)

    def losses(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images = to_images(frames.to(device, non_blocking=True))
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            reconst, mu, logsigma = step(images)
        return loss_terms(reconst.float(), images, mu.float(), logsigma.float())

    def learn(frames: torch.Tensor) -> dict[str, float]:
        mse, kl = losses(frames)
        optimizer.zero_grad(set_to_none=True)
        ((mse + beta * kl) / len(frames)).backward()
        optimizer.step()
        return {"train_mse": mse.item(), "train_kl": kl.item(), "count": len(frames)}

    return losses, learn


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it would be slower than float32."""
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def batch_count(dataset: ObservationDataset, config: WMVAEConfig) -> int:
    """Batches an epoch, for the progress bar; an estimate where the files do not fit the memory."""
    frames = int(len(dataset) / dataset.buffer_size * len(dataset.files))
    return -(-min(frames, config.images_per_epoch or frames) // config.train_batch_size)


@torch.inference_mode()
def validate(vae: ConvVAE, losses, test: ObservationDataset, seed: int, limit: int = 4096) -> dict:
    """Mean loss terms per image over `limit` held-out frames, always the same ones."""
    vae.eval()
    total = np.zeros(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.number(seed, "vae/validation"))
        for frames in test.batches(256, seeding.generator(seed, "vae/validation"), limit):
            mse, kl = losses(frames)
            total += [mse.item(), kl.item(), len(frames)]
    mse, kl = (total[:2] / total[2]).tolist()
    return {"mse": mse, "kl": kl}


@torch.inference_mode()
def save_samples(vae: ConvVAE, test: ObservationDataset, folder: Path, epoch: int, seed: int) -> None:
    """Two pictures: held-out frames above their reconstructions, and decoded draws from the prior."""
    folder.mkdir(parents=True, exist_ok=True)
    vae.eval()
    device = vae.encoder.fc_mu.weight.device
    frames = next(test.batches(8, seeding.generator(seed, "vae/samples"), 8))
    images = to_images(frames.to(device))
    reconst = vae.decoder(vae.encoder(images)[0])
    save_grid(folder / f"reconstruction_{epoch:04d}.png", torch.cat([images, reconst]), columns=8)
    noise = seeding.generator(seed, "vae/prior").standard_normal((32, vae.encoder.fc_mu.out_features))
    drawn = vae.decoder(torch.tensor(noise, dtype=torch.float32, device=device))
    save_grid(folder / f"sample_{epoch:04d}.png", drawn, columns=8)


def save_grid(path: Path, images: torch.Tensor, columns: int) -> None:
    """Images (N,C,H,W) in [0,1] as a PNG of rows of `columns`."""
    pixels = images.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    rows = [np.concatenate(list(pixels[i : i + columns]), axis=1) for i in range(0, len(pixels), columns)]
    picture = np.concatenate(rows, axis=0)
    image = Image.fromarray(picture if picture.shape[-1] == 3 else picture[..., 0])
    checkpoint.write_atomically(path, lambda file: image.save(file, format="PNG"))
