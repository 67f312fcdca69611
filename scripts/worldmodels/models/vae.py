"""V: the convolutional variational auto-encoder (paper, section 2.2 and appendix A.1)."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from worldmodels.runtime.user_errors import user_code
from worldmodels.runtime.user_network import check_network_shapes, constructing_network, load_network_class


class ConvVAEEncoder(nn.Module):
    """V's encoder: images (B,C,H,W) in [0,1] -> mu, logsigma, both (B, latent_size).

    sigma is the standard deviation. The encoder has four convolutions, or three where a side is less than 64 pixels.
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
        self.map = height, width  # of the last convolution
        features = self.convs[-1].out_channels * height * width
        self.fc_mu = nn.Linear(features, latent_size)
        self.fc_logsigma = nn.Linear(features, latent_size)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mu and logsigma, both (B, latent_size), of images (B,C,H,W) in [0,1]."""
        *first, last = self.convs
        for conv in first:
            x = F.relu(conv(x))
        x = F.relu(self.narrow(last, x) if math.prod(self.map) <= 4 else last(x)).flatten(1)
        return self.fc_mu(x), self.fc_logsigma(x)

    def narrow(self, conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        """Return conv(x) as a matrix product of patches; conv is the last convolution, to a map of few pixels."""
        # On a CPU torch's convolution to so few pixels takes longer, and its backward pass several times as long; see
        # docs/performance.md.
        height, width = self.map
        rows = x.permute(0, 2, 3, 1)
        patches = [rows[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] for i in range(height) for j in range(width)]
        weight = conv.weight.permute(0, 2, 3, 1).flatten(1)
        outputs = F.linear(torch.stack(patches, 1).flatten(2), weight, conv.bias)
        return outputs.transpose(1, 2).unflatten(2, self.map)


class ConvVAEDecoder(nn.Module):
    """V's decoder: latents (B, latent_size) -> images (B,C,H,W) in [0,1].

    Four transposed convolutions turn a side of 1 pixel into 64, and each further pixel into 16 more. Where a side is
    less than 64 pixels, three of them turn 1 pixel into 32, and each further pixel into 8 more.
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
        """Return images (B,C,H,W) in [0,1] of latents (B, latent_size)."""
        x = F.relu(self.fc(z))
        x = self.widen(x) if self.start == (1, 1) else self.deconv1(x.unflatten(1, (1024, *self.start)))
        for deconv in self.rest:
            x = deconv(F.relu(x))
        return torch.sigmoid(x)

    def widen(self, x: torch.Tensor) -> torch.Tensor:
        """Return deconv1 of a 1x1 map, given as (B, 1024)."""
        # A transposed convolution of a 1x1 map is a matrix product. torch's convolution takes ten times as long.
        weight = self.deconv1.weight
        x = (x @ weight.flatten(1)).unflatten(1, weight.shape[1:]) + self.deconv1.bias.view(-1, 1, 1)
        return x.contiguous(memory_format=torch.channels_last)


class VAE(nn.Module):
    """Base class of every V. A subclass makes its encoder and its decoder.

    Attributes:
        encoder: images (B, img_channels, height, width) in [0,1] -> mu, logsigma, each (B, latent_size). sigma is the
            standard deviation.
        decoder: latents (B, latent_size) -> images in [0,1].

    Args:
        img_channels: 3, or 1 for grey images.
        latent_size: size of z.
        height, width: of the images, pixels.
    """

    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, img_channels: int = 3, latent_size: int = 32, height: int = 64, width: int = 64) -> None:
        super().__init__()
        self.latent_size, self.image_shape = latent_size, (height, width, img_channels)

    def start_at(self, color: torch.Tensor) -> None:
        """Make the untrained decoder show this color; a subclass may leave it out.

        Args:
            color: mean of the training images, (img_channels,) in [0,1].
        """

    def encode_bfloat16(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mu and logsigma of images (B,C,H,W), with products in bfloat16 and without gradients."""
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.encoder(images)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the reconstruction of a sampled z, mu and logsigma."""
        mu, logsigma = self.encoder(x)
        z = mu + logsigma.exp() * torch.randn_like(mu)
        return self.decoder(z), mu, logsigma


class ConvVAE(VAE):
    """The paper's V for images of 64 x 64 pixels. For other sizes its last convolution and first layers differ."""

    def __init__(self, img_channels: int = 3, latent_size: int = 32, height: int = 64, width: int = 64) -> None:
        super().__init__(img_channels, latent_size, height, width)
        self.encoder = ConvVAEEncoder(img_channels, latent_size, height, width)
        self.decoder = ConvVAEDecoder(img_channels, latent_size, height, width)
        # deconv1 keeps its layout. Fused Adam copies the gradients of the other layout, and the weight of deconv1 is
        # three quarters of all parameters.
        for module in (self.encoder, *self.decoder.rest):
            module.to(memory_format=torch.channels_last)
        self.cast: tuple[list, nn.Module | None] = [], None  # state of the encoder's weights, its copy in bfloat16

    def encode_bfloat16(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mu and logsigma of images (B,C,H,W), by a copy of the encoder in bfloat16."""
        # Autocast handles the encoder of a subclass, and weights made in inference mode, whose changes do not show.
        if type(self.encoder) is not ConvVAEEncoder or self.encoder.fc_mu.weight.is_inference():
            return super().encode_bfloat16(images)
        # Autocast casts the weights in every call. That takes a quarter of the time for one frame and gives the same
        # results.
        state = [(weight.data_ptr(), weight._version) for weight in self.encoder.parameters()]
        if self.cast[0] != state:
            self.cast = state, copy.deepcopy(self.encoder).to(torch.bfloat16).requires_grad_(False)
        return self.cast[1](images.to(torch.bfloat16))

    @torch.no_grad()
    def start_at(self, color: torch.Tensor) -> None:
        """Make the untrained decoder show this color, (img_channels,) in [0,1]."""
        self.decoder.rest[-1].bias.copy_(torch.logit(color, eps=0.01))


def make_vae(model: str, img_channels: int, latent_size: int, height: int, width: int) -> VAE:
    """Return a V with fresh weights.

    Args:
        model: ConvVAE, or module:Class.

    Raises:
        UserError: there is no such class, or it is no VAE for images of this shape.
    """
    if model == "ConvVAE":
        with constructing_network(model, (height, width, img_channels)):
            return ConvVAE(img_channels, latent_size, height, width)
    cls = load_network_class(model, VAE)
    with user_code(f"vae.model: {model}"):
        vae = cls(img_channels, latent_size, height, width)
        vae.eval()
    check_network_shapes(vae, model)
    return vae


def conv_vae_loss_fn(
    reconst: torch.Tensor, x: torch.Tensor, mu: torch.Tensor, logsigma: torch.Tensor, beta: float = 1.0
) -> torch.Tensor:
    """Return the loss summed over the batch, a scalar: squared error + beta * KL(N(mu, sigma) || N(0, 1))."""
    mse, kl = vae_loss_terms(reconst, x, mu, logsigma)
    return mse + beta * kl


def vae_loss_terms(
    reconst: torch.Tensor, x: torch.Tensor, mu: torch.Tensor, logsigma: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the squared error and the KL divergence, each summed over the batch; sigma is the standard deviation."""
    mse = F.mse_loss(reconst, x, reduction="sum")
    kl = -0.5 * torch.sum(1 + 2 * logsigma - mu.pow(2) - (2 * logsigma).exp())
    return mse, kl


def to_images(frames: torch.Tensor) -> torch.Tensor:
    """Return uint8 frames (B,H,W,C) as float images (B,C,H,W) in [0,1], in channels-last memory."""
    return frames.permute(0, 3, 1, 2).float().div_(255)
