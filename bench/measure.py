"""Rates: of our code in rounds that alternate, and of the machine and the environment alone."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from worldmodels.data.policies import plan_actions
from worldmodels.envs.instances import action_space
from worldmodels.envs.lanes import make_lanes
from worldmodels.models.precision import has_bfloat16
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.training.graphed_step import GraphedStep
from worldmodels.training.loop import PendingLosses

# Floating-point operations, two per multiply-add. V's encoder has 14.8 M multiply-adds per frame and V 39 M. Training
# takes three times the forward pass. M's LSTM and output layer have 0.38 M parameters: 2 x 3 operations each per step.
FLOP_ENCODE = 29.6e6
FLOP_TRAIN_VAE = 235e6
FLOP_TRAIN_MDRNN = 2.3e6

Method = Callable[[], float]  # measures once and returns a rate
Rates = dict[str, list[float]]  # row of the table -> its rate in each round

cpu_time = False  # whether `clock` counts CPU time, see --cpu-time


def count_cpu_time() -> None:
    """Make `clock` count the CPU time of this process instead of wall time."""
    global cpu_time
    cpu_time = True


def clock() -> float:
    """Return a time, seconds. Rates of this process's own work are measured by it."""
    return time.process_time() if cpu_time else time.perf_counter()


def alternate(methods: dict[str, Method], rounds: int) -> Rates:
    """Return the rate of each method in each round. The methods take turns within a round."""
    rates: Rates = {name: [] for name in methods}
    for number in range(rounds):
        for name, method in methods.items():
            rates[name].append(method())
            print_progress(f"  round {number + 1}: {name}: {rates[name][-1]:.4g}")
    return rates


def print_progress(message: str) -> None:
    """Print to the standard error. The tables go to the standard output."""
    print(message, file=sys.stderr, flush=True)


def rate(step: Callable[[], float], seconds: float, device: torch.device | None = None) -> float:
    """Return the units of work per second.

    Args:
        step: does some work and returns its units. One call before the measurement is not counted.
        seconds: how long to measure.
        device: a GPU is waited for after each step.
    """
    step()
    synchronize(device)
    units, start = 0.0, clock()
    while clock() - start < seconds:
        units += step()
        synchronize(device)
    return units / (clock() - start)


def synchronize(device: torch.device | None) -> None:
    """Wait for a GPU."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


class TrainingSteps:
    """Steps of training as the epoch loop makes them, for `rate`.

    A call draws a batch, reads the count of the previous batch, and learns. So the GPU works while a batch is drawn.

    Args:
        learn: learns from a batch, see TrainingLoop.
        batches: endless.
    """

    def __init__(self, learn: Callable[[Any], PendingLosses], batches: Iterator) -> None:
        self.learn, self.batches = learn, batches
        self.pending = learn(next(batches))
        for _ in range(2 * GraphedStep.WARM_UP):
            self()

    def __call__(self) -> float:
        """Return the count of the previous batch."""
        batch = next(self.batches)
        count = self.pending.read()["count"]
        self.pending = self.learn(batch)
        return count


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.float32, seconds: float = 1.0) -> Method:
    """Return a measurement of torch.mm, FLOP/s, at the best of a few square sizes."""

    def multiplication(size: int) -> Callable[[], float]:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        product = torch.empty_like(left)

        def multiply() -> float:
            torch.mm(left, right, out=product)
            return 2.0 * size**3

        return multiply

    sizes = (1024, 2048, 4096) if device.type == "cpu" else (4096, 8192)
    best = max(map(multiplication, sizes), key=lambda multiply: rate(multiply, 0.2, device))
    return lambda: rate(best, seconds, device)


def product_limits(device: torch.device, flop: float, seconds: float = 1.0) -> dict[str, Method]:
    """Return the limits that matrix products set to the work, in each type that the device multiplies in hardware.

    Args:
        device: where the work runs.
        flop: floating-point operations per unit of the work.
        seconds: how long to measure.
    """
    types = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if has_bfloat16(device) else {})
    return {
        f"matrix products, {name}": limit_of(matrix_rate(device, dtype, seconds), flop) for name, dtype in types.items()
    }


def limit_of(method: Method, flop: float) -> Method:
    """Return a measurement of units per second from one of FLOP per second."""
    return lambda: method() / flop


def environment_rate(env: EnvConfig, backend: str, threads: int, steps: int = 150, lanes: int = 64) -> float:
    """Return the steps/s of the environment alone under smooth random actions. Resets are not counted.

    Args:
        env: the environment.
        backend: what steps it.
        threads: how many threads step it.
        steps: steps per episode.
        lanes: episodes side by side.
    """
    ou = RolloutsConfig(policy="ou", seq_len=steps)
    plans = np.stack([plan_actions(action_space(env), ou, 1, lane) for lane in range(lanes)])
    environments, every_lane = make_lanes(env, backend, list(range(lanes)), threads), np.arange(lanes)
    environments.reset()
    start = clock()
    for t in range(steps):
        environments.step(every_lane, plans[:, t])
    elapsed = clock() - start
    environments.close()
    return lanes * steps / elapsed
