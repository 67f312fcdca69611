"""V: the convolutional variational auto-encoder (paper, section 2.2 and appendix A.1)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from worldmodels import checkpoint, interrupts, seeding, users
from worldmodels.cli import log
from worldmodels.config import WMVAEConfig
from worldmodels.datasets import ObservationDataset, buffer_files
from worldmodels.settings import UserError, result_values
from worldmodels.training import Training

LEAST_KL = 0.1  # per image; below, all pictures have about the same code


class ConvVAEEncoder(nn.Module):
    """Images (B,C,H,W) in [0,1] -> mu, logsigma, both (B, latent_size); sigma is the standard deviation.

    Four convolutions; three where a side is less than 64.
    """

    def __init__(self, img_channels: int, latent_size: int, height: int = 64, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(img_channels, 32, 4, stride=2)
        self.conv2 = nn.Conv2d(32, 64, 4, stride=2)
        self.conv3 = nn.Conv2d(64, 128, 4, stride=2)
        self.convs = [self.conv1, self.conv2, self.conv3]
        if min(height, width) >= 64:
            self.conv4 = nn.Conv2d(128, 256, 4, stride=2)
            self.convs.append(self.conv4)
        for _ in self.convs:
            height, width = (height - 2) // 2, (width - 2) // 2
        features = self.convs[-1].out_channels * height * width
        self.fc_mu = nn.Linear(features, latent_size)
        self.fc_logsigma = nn.Linear(features, latent_size)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for conv in self.convs:
            x = F.relu(conv(x))
        x = x.flatten(1)
        return self.fc_mu(x), self.fc_logsigma(x)


class ConvVAEDecoder(nn.Module):
    """Latents (B, latent_size) -> images (B,C,H,W) in [0,1].

    Four transposed convolutions make 64 pixels of 1, and 16 more of each further one; three, where a side is less
    than 64, make 32 of 1, and 8 more of each further one.
    """

    def __init__(self, img_channels: int, latent_size: int, height: int = 64, width: int = 64) -> None:
        super().__init__()
        deep = min(height, width) >= 64
        least, step = (64, 16) if deep else (32, 8)
        self.start = (height - least) // step + 1, (width - least) // step + 1
        self.fc = nn.Linear(latent_size, 1024 * self.start[0] * self.start[1])
        self.deconv1 = nn.ConvTranspose2d(1024, 128, 5, stride=2)
        if deep:
            self.deconv2 = nn.ConvTranspose2d(128, 64, 5, stride=2)
            self.deconv3 = nn.ConvTranspose2d(64, 32, 6, stride=2)
            self.deconv4 = nn.ConvTranspose2d(32, img_channels, 6, stride=2)
            self.rest = [self.deconv2, self.deconv3, self.deconv4]
        else:
            self.deconv2 = nn.ConvTranspose2d(128, 64, 6, stride=2)
            self.deconv3 = nn.ConvTranspose2d(64, img_channels, 6, stride=2)
            self.rest = [self.deconv2, self.deconv3]

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.fc(z))
        x = self.widen(x) if self.start == (1, 1) else self.deconv1(x.unflatten(1, (1024, *self.start)))
        for deconv in self.rest:
            x = deconv(F.relu(x))
        return torch.sigmoid(x)

    def widen(self, x: torch.Tensor) -> torch.Tensor:
        """deconv1 of a 1x1 map, given as (B, 1024)."""
        # A transposed convolution of a 1x1 map is a matrix product; torch's convolution takes ten times as long.
        # The product is laid out with channels last, as the rest of the network wants it.
        weight = self.deconv1.weight.permute(0, 2, 3, 1)
        x = (x @ weight.flatten(1)).unflatten(1, weight.shape[1:]).permute(0, 3, 1, 2)
        return x + self.deconv1.bias.view(1, -1, 1, 1)


class VAE(nn.Module):
    """What a V is: to write one, make its encoder and its decoder; forward puts them together.

    encoder: images (B, img_channels, height, width) in [0,1] -> mu, logsigma, each (B, latent_size), where sigma is the
    standard deviation. decoder: latents (B, latent_size) -> images in [0,1]. forward: x -> (reconstruction of a sampled
    z, mu, logsigma).

    Args:
        img_channels: 3, or 1 in grey. latent_size: of z. height, width: of the images, pixels.
    """

    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, img_channels: int = 3, latent_size: int = 32, height: int = 64, width: int = 64) -> None:
        super().__init__()
        self.latent_size, self.image_shape = latent_size, (height, width, img_channels)

    def start_at(self, colour: torch.Tensor) -> None:
        """May make the untrained decoder show this: the mean of the training images, (img_channels,) in [0,1]."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mu, logsigma = self.encoder(x)
        z = mu + logsigma.exp() * torch.randn_like(mu)
        return self.decoder(z), mu, logsigma


class ConvVAE(VAE):
    """The paper's V, for images of 64 x 64 pixels; for other sizes its first or last layers differ."""

    def __init__(self, img_channels: int = 3, latent_size: int = 32, height: int = 64, width: int = 64) -> None:
        super().__init__(img_channels, latent_size, height, width)
        self.encoder = ConvVAEEncoder(img_channels, latent_size, height, width)
        self.decoder = ConvVAEDecoder(img_channels, latent_size, height, width)
        self.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def start_at(self, colour: torch.Tensor) -> None:
        self.decoder.rest[-1].bias.copy_(torch.logit(colour, eps=0.01))


def make_vae(model: str, img_channels: int, latent_size: int, height: int, width: int) -> VAE:
    """A V with fresh weights: ConvVAE, or module:Class.

    Raises:
        UserError: there is no such class, or it is not a VAE that takes and gives what it should.
    """
    cls = ConvVAE if model == "ConvVAE" else find_class(model)
    try:
        vae = cls(img_channels, latent_size, height, width)
    except (TypeError, RuntimeError, ValueError) as error:
        shape = (height, width, img_channels)
        raise UserError(f"vae.model: {model} cannot be made for images shaped {shape}: {error}") from None
    if model != "ConvVAE":
        check_vae(vae, model)
    return vae


def find_class(model: str) -> type[VAE]:
    module, _, name = model.partition(":")
    expected = f"vae.model: expected ConvVAE or module:Class, a class made of worldmodels.vae.VAE, found {model!r}"
    if not name:
        raise UserError(expected)
    try:
        cls = getattr(users.load(module), name, None)
    except ImportError as error:
        raise UserError(f"{expected} ({error})") from None
    if not (isinstance(cls, type) and issubclass(cls, VAE)):
        raise UserError(expected)
    return cls


@torch.no_grad()
def check_vae(vae: VAE, model: str) -> None:
    """Raise UserError if the network's outputs are not shaped as they should be."""
    height, width, channels = vae.image_shape
    images = torch.rand(2, channels, height, width)
    try:
        mu, logsigma = vae.eval().encoder(images)
        found = {"mu": (mu, (2, vae.latent_size)), "logsigma": (logsigma, (2, vae.latent_size))}
        found["decoder"] = vae.decoder(mu), tuple(images.shape)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"vae.model: {model} fails on images {tuple(images.shape)}: {reason}") from None
    for name, (tensor, shape) in found.items():
        if tuple(tensor.shape) != shape:
            raise UserError(f"vae.model: expected {name} of {model} shaped {shape}, found {tuple(tensor.shape)}")


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


def load_vae(path: str | Path, device: torch.device | str = "cpu") -> tuple[VAE, dict]:
    """The trained network in evaluation mode, and its checkpoint."""
    saved = checkpoint.load(path, ("state_dict", "config"))
    try:
        values = {"model": "ConvVAE", "height": 64, "width": 64} | saved["config"]
        vae = make_vae(*(values[key] for key in ("model", "img_channels", "latent_size", "height", "width")))
        vae.load_state_dict(saved["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: expected V's checkpoint, found another ({str(error).splitlines()[0]})") from None
    return vae.to(device).eval().requires_grad_(False), saved


@torch.inference_mode()
def encode(vae: VAE, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 frames (B,H,W,C) on any device -> mu, logsigma (B, latent_size) float32 on V's device.

    Raises:
        UserError: V was trained on frames of another shape.
    """
    if frames.shape[1:] != vae.image_shape:
        raise UserError(
            f"env.height, env.width, env.grey: expected frames shaped {vae.image_shape} as V was trained on, "
            f"found {tuple(frames.shape[1:])}"
        )
    device = next(vae.parameters()).device
    images = to_images(frames.to(device, non_blocking=True))
    # Up to 8 frames, casting the weights takes longer than it saves.
    with torch.autocast(device.type, torch.bfloat16, enabled=len(frames) > 8 and has_bfloat16(device)):
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
    height, width, channels = train.group.observations.shape[1:]
    count = batch_count(train, config)
    torch.manual_seed(seeding.number(seed, "vae/weights"))
    vae = make_vae(config.model, channels, config.latent_size, height, width).to(device)
    vae.start_at(mean_colour(train.group.observations))
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

    kl = training.history[training.best["epoch"] - 1]["kl"]
    if kl < LEAST_KL:
        log.warning("vae: z tells nothing of the pictures (KL %.2f); try a smaller vae.beta, or more epochs", kl)
    sizes = {"img_channels": channels, "height": height, "width": width}
    return {"best": {**training.best, "config": sizes | result_values(config)}, "history": training.history}


def mean_colour(frames: np.ndarray) -> torch.Tensor:
    """The mean of each channel in [0,1] over some 4096 of the frames (N,H,W,C) uint8, (C,)."""
    some = frames[:: -(-len(frames) // 4096)]
    return torch.from_numpy(some.mean(axis=(0, 1, 2)) / 255).float()


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
        ((mse + beta * kl) / len(frames)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # now, so that gradients and the next activations do not add up
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


@torch.inference_mode()
def save_samples(vae: VAE, test: ObservationDataset, folder: Path, epoch: int, seed: int) -> None:
    """Two pictures: held-out frames above their reconstructions, and decoded draws from the prior."""
    folder.mkdir(parents=True, exist_ok=True)
    vae.eval()
    device = next(vae.parameters()).device
    frames = next(test.batches(8, seeding.generator(seed, "vae/samples"), 8))
    images = to_images(frames.to(device))
    reconst = vae.decoder(vae.encoder(images)[0])
    save_grid(folder / f"reconstruction_{epoch:04d}.png", torch.cat([images, reconst]), columns=8)
    noise = seeding.generator(seed, "vae/prior").standard_normal((32, vae.latent_size))
    drawn = vae.decoder(torch.tensor(noise, dtype=torch.float32, device=device))
    save_grid(folder / f"sample_{epoch:04d}.png", drawn, columns=8)


def save_grid(path: Path, images: torch.Tensor, columns: int) -> None:
    """Images (N,C,H,W) in [0,1] as a PNG of rows of `columns`."""
    pixels = images.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    rows = [np.concatenate(list(pixels[i : i + columns]), axis=1) for i in range(0, len(pixels), columns)]
    picture = np.concatenate(rows, axis=0)
    image = Image.fromarray(picture if picture.shape[-1] == 3 else picture[..., 0])
    checkpoint.write_atomically(path, lambda file: image.save(file, format="PNG"))
