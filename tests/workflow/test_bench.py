"""Every benchmark runs at a tiny size and writes its measurements. No test judges the measurements."""

import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from bench import lost_points

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
        "lost_points",
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


def test_lost_points(smoke):
    flags = ["--logdir", smoke / "results/smoke", "--episodes", 2, "--threads", 2]
    command = [sys.executable, "-m", "bench.lost_points", *map(str, flags)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    lost = float(re.search(r"([\d.]+) of 1000 points are lost per track, 2 tracks", process.stderr)[1])
    rows = [line.split(" | ") for line in process.stdout.splitlines()[2:]]
    assert sum(float(row[3]) for row in rows) == pytest.approx(lost, abs=0.2) and sum(int(row[1]) for row in rows) == 2


ROAD = 200  # tiles of a round road with a radius of 100 m, 13 m wide
TIMES = np.arange(1000) / 800  # laps of a car that needs 800 steps for one


def drive(laps, visited, last=0.0, radius=100.0):
    """An episode of a car on the round road, described: its progress (T,) in laps, and the tiles that it visits."""
    angles = 2 * np.pi * np.arange(ROAD) / ROAD
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x, y = radius * np.cos(2 * np.pi * laps), radius * np.sin(2 * np.pi * laps)
    rewards = np.full(len(laps), -0.1)
    rewards[0] += visited * 1000 / ROAD
    rewards[-1] += last
    speeds = np.hypot(np.gradient(x), np.gradient(y)) * 50
    return lost_points.describe(rewards, np.stack([x, y, speeds], axis=1), np.hstack([93.5 * rays, 106.5 * rays]))


@pytest.mark.parametrize(
    ("drive", "cause", "missed"),
    [
        (lambda: drive(TIMES[:800], ROAD), "lap finished", 0),
        (lambda: drive(TIMES, ROAD - 3), "second lap, for missed tiles", 3),
        (lambda: drive(np.minimum(TIMES, 0.4), 80), "stands on the road", 120),
        (lambda: drive(np.minimum(TIMES, 0.4), 80, radius=115.0), "stands beside the road", 120),
        (lambda: drive(TIMES * 0.7, 70, radius=115.0), "lost beside the road", 130),
        (lambda: drive(TIMES * 0.7, 170), "out of time in the first lap", 30),
        (lambda: drive(TIMES[:300], 60, last=-100.0), "left the field", 140),
    ],
)
def test_the_cause_of_lost_points(drive, cause, missed):
    episode = drive()
    assert (episode.cause, episode.missed) == (cause, missed)


def test_the_steps_of_the_first_lap():
    assert drive(TIMES, ROAD - 3).lap == pytest.approx(0.97 * 800, abs=5)


def test_take_cover(tmp_path):
    """A scripted player survives for some seconds at least, and nobody longer than the limit."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bench.take_cover", "--episodes", "2"]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    scores = re.findall(r"the (\w+) player: ([\d.]+) \+- .* over 2 episodes", process.stderr)
    assert [name for name, _ in scores] == ["blind", "seeing"], process.stderr
    assert all(70 < float(mean) <= 2100 for _, mean in scores)
