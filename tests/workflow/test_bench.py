"""Every benchmark runs and measures, at a tiny size; what it finds is no test's business."""

import json
import math

import pytest

from helpers import forked
from helpers.programs import ROOT

SMALL = {
    "rollouts": ["--episodes", 2, "--steps", 20],
    "vae": ["--seconds", 0.05],
    "latents": ["--files", 2],
    "mdrnn": ["--seconds", 0.05],
    "controller": ["--time-limit", 20],
    "cmaes": [],
    "evaluate": ["--steps", 10],
    "workflow": ["--rollouts", 20, "--shard-size", 10],
    "memory": ["--frames", 1000, "--images", 256],
    "scaling": ["--threads", 1, "--steps", 10, "--seconds", 0.05],
}
OF_NO_RUN = ("rollouts", "workflow")


def test_all_runs_every_benchmark():
    programs = {path.stem for path in (ROOT / "bench").glob("*.py")}
    assert programs - {"all", "baselines", "common", "random_play"} == set(SMALL)
    listed = (ROOT / "bench/all.py").read_text()
    assert all(f'"{name}": {name not in OF_NO_RUN}' in listed for name in SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_it_measures(name, smoke, tmp_path):
    output = tmp_path / "found.json"
    flags = ["--rounds", 1, "--threads", 2, "--output", output, *SMALL[name]]
    if name not in OF_NO_RUN:
        flags += ["--logdir", smoke / "results/smoke"]
    process = forked.run([str(ROOT / f"bench/{name}.py"), *map(str, flags)], tmp_path, timeout=300)
    assert process.returncode == 0, process.stderr
    found = json.loads(output.read_text())
    values = [value for row in found["rates"].values() for value in row]
    assert len(values) > 1 and all(math.isfinite(value) and value > 0 for value in values)
    assert all(goal["row"] in found["rates"] and goal["against"] in found["rates"] for goal in found.get("goals", []))
    assert found["title"] in process.stdout


def test_random_play():
    flags = ["--env-id", "CartPole-v1", "--episodes", "4"]
    process = forked.run([str(ROOT / "bench/random_play.py"), *flags], None, timeout=300)
    assert process.returncode == 0 and process.stderr.count("over 4 episodes") == 2, process.stderr
