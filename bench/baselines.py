"""The straightforward way of every stage, as published implementations do it. Our stages are compared with it."""

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from worldmodels.models.load_controller import load_controller
from worldmodels.models.load_mdrnn import load_mdrnn
from worldmodels.models.load_vae import load_vae
from worldmodels.models.mdrnn import MDRNN, to_cell
from worldmodels.models.vae import ConvVAE, conv_vae_loss_fn
from worldmodels.runtime.config import EnvConfig


class PlainVAE(ConvVAE):
    """V layer by layer: every convolution as torch computes it, channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.to(memory_format=torch.contiguous_format)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return reconstructions (B,3,64,64), mu and logsigma (B, latent_size) of images (B,3,64,64) in [0,1]."""
        mu, logsigma = encode(self, x)
        d, z = self.decoder, mu + logsigma.exp() * torch.randn_like(mu)
        y = F.relu(d.deconv1(F.relu(d.fc(z))[..., None, None]))
        return torch.sigmoid(d.deconv4(F.relu(d.deconv3(F.relu(d.deconv2(y)))))), mu, logsigma


def encode(vae: ConvVAE, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return V's mu and logsigma (B, latent_size) of images (B,3,64,64) in [0,1], computed layer by layer."""
    for conv in vae.encoder.convs:
        x = F.relu(conv(x))
    return vae.encoder.fc_mu(x.flatten(1)), vae.encoder.fc_logsigma(x.flatten(1))


class FrameFiles(torch.utils.data.Dataset):
    """Frames (3,64,64) float32 in [0,1]. Every item opens its file, which reads and inflates all of its frames."""

    def __init__(self, files: list[str]) -> None:
        self.files = files
        self.ends = np.cumsum([len(np.load(file)["rewards"]) for file in files])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, row: int) -> torch.Tensor:
        number = int(np.searchsorted(self.ends, row, side="right"))
        with np.load(self.files[number]) as episode:
            frame = episode["observations"][row - self.ends[number]]
        return torch.from_numpy(frame).permute(2, 0, 1).float() / 255


def vae_step(vae: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor) -> None:
    """Train V for a step on images (B,3,64,64) in [0,1]."""
    reconst, mu, logsigma = vae(images)
    loss = conv_vae_loss_fn(reconst, images, mu, logsigma) / len(images)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    loss.item()


def mdrnn_step(mdrnn: MDRNN, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]) -> None:
    """Train M for a step on sequences (L,B,...). torch.distributions computes the likelihood of the mixture."""
    mus, sigmas, logpi, rewards, terminals = mdrnn(batch["actions"], batch["latents"])
    mixture = MixtureSameFamily(Categorical(logits=logpi), Independent(Normal(mus, sigmas), 1))
    gmm = -mixture.log_prob(batch["next_latents"]).mean()
    bce = F.binary_cross_entropy_with_logits(terminals, batch["terminals"])
    mse = F.mse_loss(rewards, batch["rewards"])
    loss = (gmm + bce + mse) / (mdrnn.latents + 2)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(mdrnn.parameters(), 1.0)
    optimizer.step()
    loss.item()


def shrink(frame: np.ndarray) -> np.ndarray:
    """Return a frame (96,96,3) as V sees it, (64,64,3)."""
    return np.array(Image.fromarray(frame).resize((64, 64), Image.Resampling.BILINEAR))


def collect(seed: int, time_limit: int, folder: str) -> int:
    """Play an episode under random actions, frame by frame, and write it to <folder>/<seed>.npz. Return its length."""
    env = gym.make(EnvConfig().id)
    frame, _ = env.reset(seed=seed)
    rows: list[tuple] = []
    while len(rows) < time_limit:
        action = env.action_space.sample()
        next_frame, reward, terminated, truncated, _ = env.step(action)
        rows.append((shrink(frame), action, np.float32(reward), np.float32(terminated)))
        frame = next_frame
        if terminated or truncated:
            break
    env.close()
    keys = ("observations", "actions", "rewards", "terminals")
    np.savez_compressed(f"{folder}/{seed}.npz", **{key: np.stack(column) for key, column in zip(keys, zip(*rows))})
    return len(rows)


@torch.no_grad()
def drive(logdir: str, seed: int, time_limit: int) -> int:
    """Play an episode of the agent in gymnasium, one frame at a time. Return its length."""
    env = gym.make(EnvConfig().id)
    vae, cell = load_vae(f"{logdir}/vae/best.tar")[0], to_cell(load_mdrnn(f"{logdir}/mdrnn/best.tar")[0])
    controller, _ = load_controller(f"{logdir}/ctrl/best.tar")
    frame, _ = env.reset(seed=seed)
    hidden, length = cell.get_init_hidden(1), 0
    while length < time_limit:
        image = torch.from_numpy(shrink(frame)).permute(2, 0, 1).unsqueeze(0).float() / 255
        z, _ = encode(vae, image)
        outputs = controller(z=z, h=hidden[0])[0]
        action = torch.stack([outputs[0].tanh(), outputs[1].sigmoid(), outputs[2].tanh().clamp(min=0)])
        *_, hidden = cell(action.unsqueeze(0), z, hidden)
        frame, _, terminated, truncated, _ = env.step(action.numpy())
        length += 1
        if terminated or truncated:
            break
    env.close()
    return length
