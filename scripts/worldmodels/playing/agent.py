"""The agent: V sees, M remembers, C acts (paper, section 2.4)."""

from dataclasses import dataclass, field

import gymnasium as gym
import torch

from worldmodels.envs.actions import ActionCodec
from worldmodels.models.controller import Controller
from worldmodels.models.load_controller import load_controller
from worldmodels.models.load_mdrnn import load_mdrnn
from worldmodels.models.load_vae import load_vae
from worldmodels.models.mdrnn import Hidden, MDRNNCell, to_cell
from worldmodels.models.vae import VAE
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.preflight import check_squash
from worldmodels.storage.checkpoints import check_models


@dataclass
class WorldModel:
    """The trained V and M on one device.

    env_steps: steps of the environment that they were trained on. logdir: where they are from. graphed: whether a GPU
    can replay them as a graph, as far as is known; a V of one's own may wait for the GPU. digests: of their files, as
    the checkpoint of a C that is trained with them keeps them: "vae" and "mdrnn".
    """

    vae: VAE
    cell: MDRNNCell
    device: torch.device
    env_steps: int
    logdir: str = ""
    capturable: bool = True
    digests: dict[str, str] = field(default_factory=dict)

    def features(self, names: str, z: torch.Tensor, hidden: Hidden) -> dict[str, torch.Tensor]:
        """What ctrl.features names, by name, for a controller: z (B,n), h and c (B,H) of M's last layer."""
        parts = dict(zip("hc", self.cell.last_layer(hidden)), z=z)
        return {name: parts[name] for name in names}

    def squash(self, names: list[str], space: gym.Space) -> "Squash":
        """What turns a controller's outputs into actions of this space.

        Raises:
            UserError: M knows actions of another size, or the names do not suit the space.
        """
        made = Squash(names, space, self.device)
        if made.codec.size != self.cell.actions:
            raise UserError(
                f"{self.logdir}/mdrnn/best.tar: expected an M that knows the environment's actions, {space}, as "
                f"{made.codec.size} numbers, found {self.cell.actions}: it is of another environment"
            )
        return made


def load_world_model(logdir: str, device: torch.device) -> WorldModel:
    """V and M from <logdir>.

    Raises:
        UserError: a checkpoint is missing or damaged, or M was trained with another V.
    """
    files = {stage: f"{logdir}/{stage}/best.tar" for stage in ("vae", "mdrnn")}
    vae, saved = load_vae(files["vae"], device)
    mdrnn, trained = load_mdrnn(files["mdrnn"], device)
    if mdrnn.latents != saved["config"]["latent_size"]:
        raise UserError(
            f"{logdir}/mdrnn/best.tar: expected latents of size {saved['config']['latent_size']} as V's, "
            f"found {mdrnn.latents}"
        )
    check_models(files["mdrnn"], trained, "M", {"vae": ("V", files["vae"])})
    cell = to_cell(mdrnn).eval().requires_grad_(False)
    digests = {stage: file_digest(file) for stage, file in files.items()}
    return WorldModel(vae, cell, device, saved.get("env_steps", 0), logdir, digests=digests)


def load_agent(logdir: str, device: torch.device) -> tuple[WorldModel, Controller, dict]:
    """V and M, and C and its checkpoint, from <logdir>.

    Raises:
        UserError: a checkpoint is missing or damaged, or was made with other models than those beside it.
    """
    world = load_world_model(logdir, device)
    path = f"{logdir}/ctrl/best.tar"
    controller, saved = load_controller(path)
    files = {stage: (name, f"{logdir}/{stage}/best.tar") for stage, name in (("vae", "V"), ("mdrnn", "M"))}
    check_models(path, saved, "C", files)
    return world, controller.to(device), saved


class Squash:
    """Turns a controller's outputs (B, A) into encoded actions (B, A); see ctrl.squash and ActionCodec.

    Of discrete and binary actions the codec alone decides.
    """

    def __init__(self, names: list[str], space: gym.Space, device: torch.device) -> None:
        self.codec = ActionCodec(space)
        check_squash(names, self.codec.summary)
        if not self.codec.continuous:
            return
        size, bounded = self.codec.size, self.codec.bounded
        names = names * size if len(names) == 1 else names or ["tanh" if known else "clip" for known in bounded]
        self.low, self.high = (torch.tensor(bound, device=device) for bound in (self.codec.low, self.codec.high))
        self.scaled = torch.tensor([name == "tanh" for name in names], device=device)
        self.bare = torch.tensor([name == "clip" for name in names], device=device)

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        if not self.codec.continuous:
            return self.codec.snap(outputs)
        wave = outputs.tanh()
        # Without bounds, low and high are infinite and this is not a number: it is not chosen then.
        scaled = self.low + (wave + 1) / 2 * (self.high - self.low)
        clipped = torch.where(self.bare, outputs, wave)
        return torch.maximum(torch.minimum(torch.where(self.scaled, scaled, clipped), self.high), self.low)
