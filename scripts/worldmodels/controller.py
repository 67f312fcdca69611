"""C: the linear controller (paper, section 2.4), and episodes of many controllers at once in worker processes."""

from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from worldmodels import checkpoint
from worldmodels.agent import Squash, WorldModel, load_world_model, play_episodes
from worldmodels.config import EnvConfig, WMControllerConfig
from worldmodels.envs import action_space, make_lanes
from worldmodels.settings import UserError
from worldmodels.workers import worker_device


class Controller(nn.Module):
    """One linear layer: latent (B,n), hidden (B,H) -> outputs (B,A), not yet within the actions' bounds."""

    def __init__(self, latent_size: int, hidden_size: int, action_size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(latent_size + hidden_size, action_size)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.cat(inputs, dim=-1))


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
        sizes = saved["config"]
        controller = Controller(sizes["latent_size"], sizes["hidden_size"], sizes["action_size"])
        controller.load_state_dict(saved["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: expected C's checkpoint, found another ({str(error).splitlines()[0]})") from None
    return controller.eval().requires_grad_(False), saved


@dataclass
class Worker:
    """What a worker process keeps between its tasks."""

    world: WorldModel
    env: EnvConfig
    backend: str
    config: WMControllerConfig
    squash: Squash

    def evaluate(self, parameters: np.ndarray, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Play an episode of each of the controllers (B,P) on its seed: returns (B,), lengths (B,)."""
        actions = self.squash.codec.size
        weights = torch.as_tensor(parameters, dtype=torch.float32, device=self.world.device)
        bias = weights[:, -actions:]
        matrices = weights[:, :-actions].unflatten(1, (actions, -1))

        def policy(alive: np.ndarray, z: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
            # All linear controllers as one batched product.
            features = torch.cat([z, h], dim=-1).unsqueeze(-1)
            return self.squash(torch.baddbmm(bias[alive].unsqueeze(-1), matrices[alive], features).squeeze(-1))

        lanes = make_lanes(self.env, self.backend, seeds)
        try:
            return play_episodes(self.world, lanes, policy, self.config.time_limit, self.config.stall_limit)
        finally:
            lanes.close()


WORKER: Worker | None = None


def prepare_worker(
    number: int, logdir: str, env: EnvConfig, backend: str, config: WMControllerConfig, device: str
) -> None:
    """Load V and M once in a worker process."""
    global WORKER
    world = load_world_model(logdir, worker_device(device, number))
    WORKER = Worker(world, env, backend, config, Squash(config.squash, action_space(env), world.device))


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
