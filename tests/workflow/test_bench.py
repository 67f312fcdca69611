"""Every benchmark runs at a tiny size and writes its measurements. No test judges the measurements."""

import json
import math
import os
import re
import subprocess
import sys

import pytest

from helpers import forked
from helpers.programs import ROOT

SMALL = {
    "rollouts": ["--episodes", 2, "--steps", 20],
    "vae": ["--seconds", 0.05],
    "latents": ["--files", 2],
    "mdrnn": ["--seconds", 0.05],
    "controller": ["--time-limit", 20],
    "dreams": ["--time-limit", 20],
    "cmaes": [],
    "evaluate": ["--steps", 10],
    "workflow": ["--rollouts", 20, "--shard-size", 10],
    "memory": ["--frames", 2000, "--images", 256],
    "curves": [],
    "scaling": ["--threads", 1, "--steps", 10, "--seconds", 0.05],
}
WITHOUT_RUN = ("rollouts", "workflow")


def test_all_runs_every_benchmark():
    programs = {path.stem for path in (ROOT / "bench").glob("*.py")}
    assert programs - {
        "__init__",
        "all",
        "baselines",
        "measure",
        "program",
        "random_play",
        "report",
        "take_cover",
    } == set(SMALL)
    text = (ROOT / "bench/all.py").read_text()
    assert all(f'"{name}": {name not in WITHOUT_RUN}' in text for name in SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_writes_its_rates(name, smoke, tmp_path):
    output = tmp_path / "result.json"
    flags = ["--rounds", 1, "--threads", 2, "--output", output, *SMALL[name]]
    if name not in WITHOUT_RUN:
        flags += ["--logdir", smoke / "results/smoke"]
    process = forked.run(["-m", f"bench.{name}", *map(str, flags)], ROOT, timeout=300)
    assert process.returncode == 0, process.stderr
    result = json.loads(output.read_text())
    values = [value for row in result["rates"].values() for value in row]
    assert len(values) > 1 and all(math.isfinite(value) and value > 0 for value in values)
    assert all(
        goal["row"] in result["rates"] and goal["against"] in result["rates"] for goal in result.get("goals", [])
    )
    assert result["title"] in process.stdout


def test_random_play():
    flags = ["--env-id", "CartPole-v1", "--episodes", "4"]
    process = forked.run(["-m", "bench.random_play", *flags], ROOT, timeout=300)
    assert process.returncode == 0 and process.stderr.count("over 4 episodes") == 2, process.stderr


def test_take_cover(tmp_path):
    """A scripted player survives for some seconds at least, and nobody longer than the limit."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bench.take_cover", "--episodes", "2"]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    scores = re.findall(r"the (\w+) player: ([\d.]+) \+- .* over 2 episodes", process.stderr)
    assert [name for name, _ in scores] == ["blind", "seeing"], process.stderr
    assert all(70 < float(mean) <= 2100 for _, mean in scores)
