"""C: the controller (paper, section 2.4), and episodes of many controllers at once in worker processes."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from worldmodels import checkpoint
from worldmodels.agent import Squash, WorldModel, load_world_model, play_episodes
from worldmodels.config import EnvConfig, WMControllerConfig
from worldmodels.envs import make_lanes
from worldmodels.instances import Instances
from worldmodels.settings import UserError
from worldmodels.workers import worker_device


class Controller(nn.Module):
    """Latent (B,n), hidden (B,H) -> outputs (B,A), not yet within the actions' bounds: one linear layer.

    Call it with names, as controller(z=z, h=h): a tensor does not tell whether it is z or h, so the names do.

    Args:
        features: what it is shown, in this order, see ctrl.features.
        hidden: widths of hidden layers, with tanh; none in the paper's agent.
    """

    def __init__(
        self,
        latent_size: int,
        hidden_size: int,
        action_size: int,
        features: str = "zh",
        hidden: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.features = features
        sizes = {"z": latent_size, "h": hidden_size, "c": hidden_size}
        self.sizes = {name: sizes[name] for name in features}
        widths = [sum(self.sizes.values()), *hidden]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.fc = nn.Linear(widths[-1], action_size)

    @property
    def layers(self) -> list[nn.Linear]:
        return [*self.hidden, self.fc]

    def forward(self, *state: torch.Tensor, **parts: torch.Tensor) -> torch.Tensor:
        """Return the outputs (B,A).

        Args:
            parts: what the controller is shown, by name and in any order: z (B,n), h and c (B,H).
            state: instead, the parts as one tensor (B,n+H), already concatenated in the order of `features`, [z, h].

        Raises:
            TypeError: a part is missing or not one of `features`, or several tensors came without names.
            ValueError: a tensor has another size.
        """
        if not state:
            x = self.concatenate(**parts)
        elif len(state) == 1 and not parts:
            x = state[0]
            if x.shape[-1] != sum(self.sizes.values()):
                raise ValueError(f"expected a state of {self.shape_text()}, found {x.shape[-1]}")
        else:
            raise TypeError(
                f"expected {self.call_text()}, or one tensor, found {len(state)} tensors without names"
                + (f", beside {', '.join(parts)}" if parts else "")
            )
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.fc(x)

    def concatenate(self, **parts: torch.Tensor) -> torch.Tensor:
        """Return the parts, see `forward`, as one tensor (B,n+H) in the order of `features`."""
        if parts.keys() != self.sizes.keys():
            raise TypeError(f"expected {self.call_text()}, found {', '.join(parts) or 'nothing'}")
        for name, size in self.sizes.items():
            if parts[name].shape[-1] != size:
                raise ValueError(f"expected {name} of {size} numbers, found {parts[name].shape[-1]}")
        return torch.cat([parts[name] for name in self.sizes], dim=-1)

    def call_text(self) -> str:
        return f"controller({', '.join(f'{name}={name}' for name in self.sizes)})"

    def shape_text(self) -> str:
        sizes = " + ".join(f"{size} ({name})" for name, size in self.sizes.items())
        return f"{sizes} numbers"


class ManyControllers:
    """Controllers of one shape, each acting for itself, evaluated as one batched product a layer.

    Args:
        parameters: (B, P), a controller's a row.
        like: a controller of their shape.
    """

    def __init__(self, parameters: torch.Tensor, like: Controller) -> None:
        self.concatenate = like.concatenate
        self.layers, start = [], 0
        for layer in like.layers:
            rows, columns = layer.weight.shape
            matrix, bias, _ = parameters[:, start:].tensor_split((rows * columns, rows * columns + rows), dim=1)
            self.layers.append((matrix.unflatten(1, (rows, columns)), bias.unsqueeze(-1)))
            start += rows * columns + rows

    def act(self, which: np.ndarray | slice, **parts: torch.Tensor) -> torch.Tensor:
        """The outputs (k, A) of these controllers (k,), each on its own row of the parts (k, ...), given by name."""
        x = self.concatenate(**parts).unsqueeze(-1)
        for i, (matrix, bias) in enumerate(self.layers):
            x = torch.baddbmm(bias[which], matrix[which], x.tanh() if i else x)
        return x.squeeze(-1)


def make_controller(config: dict, world: WorldModel | None = None) -> Controller:
    """A controller of the sizes in a checkpoint's config, or of this world's and the config's shape."""
    sizes = {"features": "zh", "hidden": []} | config
    if world is not None:
        cell = world.cell
        sizes |= {"latent_size": cell.latents, "hidden_size": cell.hiddens, "action_size": cell.actions}
        if "c" in sizes["features"] and cell.cell == "gru":
            raise UserError("ctrl.features: expected z, h or zh, since M is a GRU, which has no c, found 'zhc'")
    return Controller(*(sizes[key] for key in ("latent_size", "hidden_size", "action_size", "features", "hidden")))


def flatten_parameters(module: nn.Module) -> np.ndarray:
    """All parameters in one float64 vector (P,), in the order of module.parameters()."""
    return np.concatenate([p.detach().cpu().double().numpy().ravel() for p in module.parameters()])


def load_parameters(vector: np.ndarray, module: nn.Module) -> None:
    """The reverse of flatten_parameters."""
    expected = sum(p.numel() for p in module.parameters())
    if len(vector) != expected:
        raise ValueError(f"expected a vector of {expected} parameters, found {len(vector)}")
    torch.nn.utils.vector_to_parameters(
        torch.as_tensor(vector, dtype=next(module.parameters()).dtype), module.parameters()
    )


def load_controller(path: str | Path) -> tuple[Controller, dict]:
    """The trained controller and its checkpoint."""
    saved = checkpoint.load(path, ("state_dict", "config"))
    try:
        controller = make_controller(saved["config"])
        controller.load_state_dict(saved["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: expected C's checkpoint, found another ({str(error).splitlines()[0]})") from None
    return controller.eval().requires_grad_(False), saved


def load_agent(logdir: str, device: torch.device) -> tuple[WorldModel, Controller, dict]:
    """V and M, and C and its checkpoint, from <logdir>.

    Raises:
        UserError: a checkpoint is missing or damaged, or was made with other models than those beside it.
    """
    world = load_world_model(logdir, device)
    path = f"{logdir}/ctrl/best.tar"
    controller, saved = load_controller(path)
    files = {stage: (name, f"{logdir}/{stage}/best.tar") for stage, name in (("vae", "V"), ("mdrnn", "M"))}
    checkpoint.check_origin(path, saved, "C", files)
    return world, controller.to(device), saved


@dataclass
class Worker:
    """What a worker process keeps between its tasks."""

    world: WorldModel
    env: EnvConfig
    backend: str
    config: WMControllerConfig
    squash: Squash
    threads: int = 1  # that step EnvPool's environments
    instances: Instances | None = None  # of gymnasium, where that plays

    def evaluate(self, parameters: np.ndarray, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Play an episode of each of the controllers (B,P) on its seed: returns (B,), lengths (B,)."""
        weights = torch.as_tensor(parameters, dtype=torch.float32, device=self.world.device)
        many = ManyControllers(weights, make_controller(self.config.to_dict(), self.world))

        def policy(which: np.ndarray | slice, **parts: torch.Tensor) -> torch.Tensor:
            return self.squash(many.act(which, **parts))

        lanes = make_lanes(self.env, self.backend, seeds, self.threads, self.instances)
        # In gymnasium env.instances may have episodes wait. A row for each of them keeps the bits the same.
        width = len(seeds) if self.backend == "gymnasium" else 0
        try:
            limits = self.config.time_limit, self.config.stall_limit
            return play_episodes(self.world, lanes, policy, *limits, features=self.config.features, width=width)
        finally:
            lanes.close()


WORKER: Worker | None = None


def share_cores(cores: int, config: WMControllerConfig) -> tuple[int, int]:
    """Worker processes, as many as a generation has pieces at most, and the threads of each that step environments."""
    cores = min(cores, config.max_workers)
    grown = config.max_env_steps // config.sample_growth if config.sample_growth else 0
    pieces = -(-config.pop_size * (config.n_samples + grown) // config.lanes)
    count = max(1, min(cores, pieces))
    return count, max(1, cores // count)


def prepare_worker(
    number: int, logdir: str, env: EnvConfig, backend: str, config: WMControllerConfig, device: str, threads: int
) -> Callable[[], None]:
    """Load V and M once in a worker process, in which so many threads will step EnvPool's environments.

    Returns:
        What closes the worker's environments.
    """
    global WORKER
    world = load_world_model(logdir, worker_device(device, number))
    instances = Instances(env)
    squash = world.squash(config.squash, instances.space)
    if backend == "envpool":
        instances.close()  # it only told the actions
    WORKER = Worker(world, env, backend, config, squash, threads, instances)
    return instances.close


def evaluate_in_worker(parameters: np.ndarray, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
    assert WORKER is not None
    return WORKER.evaluate(parameters, seeds)


Result = tuple[np.ndarray, np.ndarray]  # returns (B,), lengths (B,)


class Evaluator:
    """Splits episodes into pieces of `lanes`, whatever the number of workers: so it never shows in a result."""

    def __init__(self, pool: Executor, lanes: int) -> None:
        self.pool, self.lanes = pool, lanes

    def submit(self, parameters: np.ndarray, seeds: list[int], known: dict[int, Result] | None = None) -> list[Future]:
        """Start an episode of each of the controllers (B,P) on its seed: the pieces, in order.

        Args:
            known: results of pieces, by number, that need not be played again.
        """
        jobs = []
        for number, i in enumerate(range(0, len(seeds), self.lanes)):
            piece = slice(i, i + self.lanes)
            if known and number in known:
                jobs.append(Future())
                jobs[-1].set_result(known[number])
            else:
                jobs.append(self.pool.submit(evaluate_in_worker, parameters[piece], seeds[piece]))
        return jobs

    @staticmethod
    def collect(jobs: list[Future]) -> Result:
        returns, lengths = zip(*(job.result() for job in jobs))
        return np.concatenate(returns), np.concatenate(lengths)
