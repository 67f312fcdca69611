"""What the benchmarks share: the machine's limits, alternating rounds, the table and its JSON.

A benchmark measures ours, the straightforward way and the bare limit in short rounds that alternate, and reports the
median of each round's ratios: what else runs on the machine then slows all of them alike.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from worldmodels.data.policies import plan_actions
from worldmodels.envs.instances import action_space
from worldmodels.envs.lanes import make_lanes
from worldmodels.models.precision import has_bfloat16
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.log import log
from worldmodels.runtime.program import keep_freed_memory
from worldmodels.training.graphed_step import GraphedStep
from worldmodels.training.loop import PendingLosses

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench/results"

# Floating-point operations, two a multiply-add. V's encoder has 14.8 M multiply-adds a frame and V 39 M; training takes
# three times the forward pass. M's LSTM and output layer have 0.38 M parameters: 2 x 3 operations each a step.
FLOP_ENCODE = 29.6e6
FLOP_TRAIN_VAE = 235e6
FLOP_TRAIN_MDRNN = 2.3e6

Method = Callable[[], float]  # measures once; gives a rate


def parser(description: str, rounds: int = 3) -> argparse.ArgumentParser:
    """A parser with the flags of every benchmark."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help="rounds, each measures all (default: %(default)s)")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="cores to use (default: all, %(default)s)")
    made.add_argument(
        "--cpu-time",
        action="store_true",
        help="count CPU time instead, on a busy machine: V, latents and M with --threads 1, and the workflow",
    )
    made.add_argument("--output", help="JSON file to write (default: bench/results/<program>.json)")
    return made


def add_run(made: argparse.ArgumentParser) -> None:
    """The flags of a benchmark that needs a finished run."""
    made.add_argument("--logdir", default="results/carracing", help="a finished run (default: %(default)s)")
    made.add_argument("--data-dir", help="its rollouts (default: <logdir>/rollouts)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")


def rollout_files(args: argparse.Namespace, most: int = 0) -> list[str]:
    """The run's rollout files, or the first `most` of them."""
    folder = Path(args.data_dir or f"{args.logdir}/rollouts")
    files = sorted(map(str, folder.glob("*.npz")))
    if not files:
        sys.exit(f"error: {folder}: expected rollouts (*.npz), found none; --logdir names a finished run")
    return files[:most] if most else files


@dataclass
class Goal:
    """That the rate of one row is at least (or, for costs, at most) so many times that of another."""

    row: str
    against: str
    factor: float
    at_most: bool = False

    def judge(self, rates: dict[str, list[float]]) -> dict:
        found = ratio(rates, self.row, self.against)
        met = found <= self.factor if self.at_most else found >= self.factor
        return {**asdict(self), "found": found, "met": met}


def alternate(methods: dict[str, Method], rounds: int) -> dict[str, list[float]]:
    """The rates of every method in each round; the methods take turns."""
    rates: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(rounds):
        for name, measure in methods.items():
            rates[name].append(measure())
            say(f"  round {number + 1}: {name}: {rates[name][-1]:.4g}")
    return rates


def ratio(rates: dict[str, list[float]], row: str, against: str) -> float:
    """The median over the rounds of one row's rate by another's in the same round."""
    return statistics.median(one / other for one, other in zip(rates[row], rates[against]))


def report(
    args: argparse.Namespace,
    title: str,
    unit: str,
    rates: dict[str, list[float]],
    limit: str,
    goals: list[Goal],
    **more,
) -> None:
    """Print the table, each row with its ratio to `limit`, and the goals; write all of it as JSON."""
    table(title, unit, rates, limit)
    judged = [goal.judge(rates) for goal in goals]
    print_goals(judged)
    write(args, {"title": title, "unit": unit, "limit": limit, "rates": rates, "goals": judged, **more})


def table(title: str, unit: str, rates: dict[str, list[float]], limit: str) -> None:
    """Print the median rate of each row, and of the rounds' ratios to `limit`."""
    width, last = max(map(len, rates)), f"of {limit}"
    print(f"\n{title} ({describe_load()})")
    print(f"  {'':{width}}  {unit:>12}  {last:>8}")
    for name, values in rates.items():
        share = f"{ratio(rates, name, limit):.2f}"
        print(f"  {name:{width}}  {number(statistics.median(values)):>12}  {share:>{max(8, len(last))}}")


def print_goals(judged: list[dict]) -> None:
    for goal in judged:
        word = "at most" if goal["at_most"] else "at least"
        verdict = "met" if goal["met"] else "MISSED"
        line = f"{goal['row']} / {goal['against']}: {goal['found']:.3g}, wanted {word} {goal['factor']:g}: {verdict}"
        print(f"  {line}", flush=True)


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(args: argparse.Namespace, result: dict) -> None:
    """The JSON file: what was found, on which machine, when and under which load."""
    program = Path(sys.argv[0]).stem
    path = Path(args.output or RESULTS / f"{program}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = {key: value for key, value in vars(args).items() if key != "output"}
    machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "torch": torch.__version__, "load": os.getloadavg()[0]}
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    content = {"program": program, "time": time.strftime("%Y-%m-%d %H:%M"), "machine": machine, "flags": flags}
    path.write_text(json.dumps({**content, **result}, indent=1) + "\n")


def say(message: str) -> None:
    """Progress, beside the table."""
    print(message, file=sys.stderr, flush=True)


def describe_load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


clock = time.perf_counter  # what rates are measured by, see --cpu-time


def rate(step: Callable[[], float], seconds: float, device: torch.device | None = None) -> float:
    """Units of work a second: step() does some and says how many; one call before is not counted."""
    step()
    synchronize(device)
    done, start = 0.0, clock()
    while clock() - start < seconds:
        done += step()
        synchronize(device)
    return done / (clock() - start)


def learning(learn: Callable[[object], PendingLosses], batches: Iterator) -> Callable[[], float]:
    """A step of training, for `rate`; it gives the count of the one before, which is read once a batch is drawn."""
    waiting = [learn(next(batches))]

    def step() -> float:
        batch = next(batches)
        count = waiting.pop().read()["count"]
        waiting.append(learn(batch))
        return count

    for _ in range(2 * GraphedStep.WARM_UP):
        step()
    return step


def synchronize(device: torch.device | None) -> None:
    """Wait for a GPU."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.float32, seconds: float = 1.0) -> Method:
    """Measures the rate of torch.mm, FLOP/s, at the best of a few square sizes."""

    def at(size: int) -> Callable[[], float]:
        one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        product = torch.empty_like(one)

        def multiply() -> float:
            torch.mm(one, other, out=product)
            return 2.0 * size**3

        return multiply

    sizes = (1024, 2048, 4096) if device.type == "cpu" else (4096, 8192)
    best = max(map(at, sizes), key=lambda multiply: rate(multiply, 0.2, device))
    return lambda: rate(best, seconds, device)


def products(device: torch.device, flop: float, seconds: float = 1.0) -> dict[str, Method]:
    """The limits that matrix products set to work of `flop` operations a unit, in the types that the device has."""
    kinds = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if has_bfloat16(device) else {})
    rates = {name: matrix_rate(device, kind, seconds) for name, kind in kinds.items()}
    return {f"matrix products, {name}": lambda measure=measure: measure() / flop for name, measure in rates.items()}


def copy_rate(seconds: float = 0.5) -> Method:
    """Measures the rate of a memory copy, bytes/s (each read once and written once)."""
    source = torch.ones(64 * 2**20, dtype=torch.uint8)
    target = torch.empty_like(source)

    def copy() -> float:
        target.copy_(source)
        return float(len(source))

    return lambda: rate(copy, seconds)


def read_rate(files: list[str], seconds: float = 0.5) -> Method:
    """Measures the rate of reading files from first to last byte, bytes/s (from the page cache, if they are there)."""

    def read() -> float:
        return float(sum(len(Path(file).read_bytes()) for file in files))

    return lambda: rate(read, seconds)


def environment_rate(env: EnvConfig, backend: str, threads: int, steps: int = 150, lanes: int = 64) -> float:
    """Steps/s of the environment alone on `threads` threads, under smooth random actions; resets are not counted."""
    ou = RolloutsConfig(policy="ou", seq_len=steps)
    plans = np.stack([plan_actions(action_space(env), ou, 1, lane) for lane in range(lanes)])
    made, everyone = make_lanes(env, backend, list(range(lanes)), threads), np.arange(lanes)
    made.reset()
    start = clock()
    for t in range(steps):
        made.step(everyone, plans[:, t])
    elapsed = clock() - start
    made.close()
    return lanes * steps / elapsed


def main(made: argparse.ArgumentParser, body: Callable[[argparse.Namespace], None]) -> None:
    """Parse the flags and run body(args) with so many threads."""
    global clock
    args = made.parse_args()
    if args.cpu_time:
        clock = time.process_time
    torch.set_num_threads(max(1, args.threads))
    keep_freed_memory()
    log.setLevel("WARNING")
    body(args)
