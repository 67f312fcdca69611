"""The table of a benchmark, its goals, and its JSON file.

A ratio is taken within each round, and the median over the rounds is shown. Load from elsewhere slows all rows of a
round alike, so a ratio has a meaning where a rate has none.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench import ROOT
from bench.measure import Rates

RESULTS = ROOT / "bench/results"


@dataclass
class Goal:
    """A bound on the ratio of two rows.

    Attributes:
        row: the row that is judged.
        against: the row that it is compared with.
        factor: the least ratio or, with at_most, the greatest.
        at_most: for costs.
    """

    row: str
    against: str
    factor: float
    at_most: bool = False

    def judge(self, rates: Rates) -> dict[str, Any]:
        """Return the goal, the ratio that was found, and whether the goal is met."""
        found = ratio(rates, self.row, self.against)
        met = found <= self.factor if self.at_most else found >= self.factor
        return {**asdict(self), "found": found, "met": met}


def ratio(rates: Rates, row: str, against: str) -> float:
    """Return the median over the rounds of the ratio of two rows in the same round."""
    return statistics.median(rate / reference for rate, reference in zip(rates[row], rates[against]))


def report(
    args: argparse.Namespace, title: str, unit: str, rates: Rates, limit: str, goals: list[Goal], **extra: Any
) -> None:
    """Print the table and the goals, and write both as JSON.

    Args:
        args: the program's flags.
        title: title of the table.
        unit: unit of the rates.
        rates: the rows.
        limit: the row that each row is compared with.
        goals: the goals.
        extra: more entries of the JSON file.
    """
    print_table(title, unit, rates, limit)
    judged = [goal.judge(rates) for goal in goals]
    print_goals(judged)
    write_result(args, {"title": title, "unit": unit, "limit": limit, "rates": rates, "goals": judged, **extra})


def print_table(title: str, unit: str, rates: Rates, limit: str) -> None:
    """Print the median rate of each row, and the median of its ratio to the row `limit`."""
    width, heading = max(map(len, rates)), f"of {limit}"
    print(f"\n{title} (load {os.getloadavg()[0]:.1f})")
    print(f"  {'':{width}}  {unit:>12}  {heading:>8}")
    for name, values in rates.items():
        share = f"{ratio(rates, name, limit):.2f}"
        print(f"  {name:{width}}  {format_number(statistics.median(values)):>12}  {share:>{max(8, len(heading))}}")


def print_goals(judged: list[dict[str, Any]]) -> None:
    """Print a line per goal: what was found, what was wanted, and whether the goal is met."""
    for goal in judged:
        bound = "at most" if goal["at_most"] else "at least"
        verdict = "met" if goal["met"] else "MISSED"
        line = f"{goal['row']} / {goal['against']}: {goal['found']:.3g}, wanted {bound} {goal['factor']:g}: {verdict}"
        print(f"  {line}", flush=True)


def format_number(value: float) -> str:
    """Return three significant digits, with commas between thousands."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_result(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """Write the result as JSON, with the flags, the machine, its load and the time."""
    program = Path(sys.argv[0]).stem
    path = Path(args.output or RESULTS / f"{program}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = {key: value for key, value in vars(args).items() if key != "output"}
    machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "torch": torch.__version__, "load": os.getloadavg()[0]}
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    content = {"program": program, "time": time.strftime("%Y-%m-%d %H:%M"), "machine": machine, "flags": flags}
    path.write_text(json.dumps({**content, **result}, indent=1) + "\n")


def cpu_name() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())
