"""The agent: V encodes frames, M keeps the hidden state, C acts (paper, section 2.4)."""

from collections.abc import Callable
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

# policy(rows, z=..., h=...) -> encoded actions (k, A). The features come by name; `rows` are theirs in the batch.
Policy = Callable[..., torch.Tensor]


@dataclass
class WorldModel:
    """The trained V and M on one device.

    Attributes:
        vae: V.
        cell: M, which takes one step at a time.
        device: where both are.
        env_steps: steps of the environment that they were trained on.
        logdir: the run that trained them.
        capturable: False after CUDA graph capture has failed, for example because a custom V waits for the GPU.
        digests: of the files "vae" and "mdrnn". The checkpoint of a C that is trained with them keeps these.
    """

    vae: VAE
    cell: MDRNNCell
    device: torch.device
    env_steps: int
    logdir: str = ""
    capturable: bool = True
    digests: dict[str, str] = field(default_factory=dict)

    def features(self, names: str, z: torch.Tensor, hidden: Hidden) -> dict[str, torch.Tensor]:
        """Return the tensors that a controller sees, by name.

        Args:
            names: see ctrl.features.
            z: (B, n).
            hidden: M's hidden state.

        Returns:
            Of these names: z (B, n), h and c (B, H) of M's last layer.
        """
        tensors = dict(zip("hc", self.cell.last_layer(hidden)), z=z)
        return {name: tensors[name] for name in names}

    def squash(self, names: list[str], space: gym.Space) -> "Squash":
        """Return the function that turns a controller's outputs into actions of this space.

        Args:
            names: see ctrl.squash.
            space: of the environment's actions.

        Raises:
            UserError: M takes actions of another size, or the names do not suit the space.
        """
        size = ActionCodec(space).size
        if size != self.cell.actions:
            raise UserError(
                f"{self.logdir}/mdrnn/best.tar: expected an M that knows the environment's actions, {space}, as "
                f"{size} numbers, found {self.cell.actions}: it is of another environment"
            )
        return Squash(names, space, self.device)


def load_world_model(logdir: str, device: torch.device | str = "cpu") -> WorldModel:
    """Load V and M from <logdir> to this device.

    Raises:
        UserError: a checkpoint is missing or damaged, or M was trained with another V.
    """
    device = torch.device(device)
    files = {stage: f"{logdir}/{stage}/best.tar" for stage in ("vae", "mdrnn")}
    vae, saved_vae = load_vae(files["vae"], device)
    mdrnn, saved_mdrnn = load_mdrnn(files["mdrnn"], device)
    latent_size = saved_vae["config"]["latent_size"]
    if mdrnn.latents != latent_size:
        raise UserError(
            f"{logdir}/mdrnn/best.tar: expected latents of size {latent_size} as V's, found {mdrnn.latents}"
        )
    check_models(files["mdrnn"], saved_mdrnn, "M", {"vae": ("V", files["vae"])})
    cell = to_cell(mdrnn).eval().requires_grad_(False)
    digests = {stage: file_digest(file) for stage, file in files.items()}
    return WorldModel(vae, cell, device, saved_vae.get("env_steps", 0), logdir, digests=digests)


def load_agent(logdir: str, device: torch.device | str = "cpu") -> tuple[WorldModel, Controller, dict]:
    """Load V and M, and C and its checkpoint, from <logdir> to this device.

    Raises:
        UserError: a checkpoint is missing or damaged, or was not trained with the models in the same run.
    """
    world = load_world_model(logdir, device)
    path = f"{logdir}/ctrl/best.tar"
    controller, saved = load_controller(path)
    files = {stage: (name, f"{logdir}/{stage}/best.tar") for stage, name in (("vae", "V"), ("mdrnn", "M"))}
    check_models(path, saved, "C", files)
    return world, controller.to(world.device), saved


class Squash:
    """Turns a controller's outputs (B, A) into encoded actions (B, A), see ActionCodec.

    Discrete and binary actions are snapped by the codec alone.

    Args:
        names: one per number of the action, one for all, or none for the default; see ctrl.squash.
        space: of the environment's actions.
        device: of the outputs.

    Raises:
        UserError: the names do not suit the space.
    """

    def __init__(self, names: list[str], space: gym.Space, device: torch.device) -> None:
        self.codec = ActionCodec(space)
        check_squash(names, self.codec.summary)
        if not self.codec.continuous:
            return
        if not names:
            names = ["tanh" if bounded else "clip" for bounded in self.codec.bounded]
        elif len(names) == 1:
            names = names * self.codec.size
        self.low = torch.tensor(self.codec.low, device=device)
        self.high = torch.tensor(self.codec.high, device=device)
        self.is_tanh = torch.tensor([name == "tanh" for name in names], device=device)
        self.is_clip = torch.tensor([name == "clip" for name in names], device=device)

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the encoded actions (B, A) of these outputs (B, A)."""
        if not self.codec.continuous:
            return self.codec.snap(outputs)
        tanh = outputs.tanh()
        # Where low and high are infinite this is NaN. The NaN is not used, since "tanh" needs bounds.
        scaled = self.low + (tanh + 1) / 2 * (self.high - self.low)
        unscaled = torch.where(self.is_clip, outputs, tanh)
        return torch.maximum(torch.minimum(torch.where(self.is_tanh, scaled, unscaled), self.high), self.low)
