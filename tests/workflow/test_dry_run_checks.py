"""What the environment contradicts in C's settings ends the run before any training."""

import dataclasses
import json

import pytest

from helpers.programs import run_script, run_snakemake
from worldmodels.runtime import preflight
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.loading import load_config
from worldmodels.runtime.preflight import Actions

HUGE = Actions("Discrete(4096)", 4096, False, [])


def collect(tmp_path, controller: dict, *flags):
    config = load_config({"env": {"kwargs": {"continuous": False}}, "ctrl": controller})
    flag = json.dumps(preflight.controller_settings(config))
    env = ["--env-kwargs", '{"continuous": false}', "--num-rollouts", 1, "--shard-size", 1, "--seq-len", 2]
    where = ["--data-dir", tmp_path / "data", "--shard", 0]
    return run_script("collect_rollouts", *where, "--controller", flag, *env, *flags, check=False)


@pytest.mark.parametrize(
    "controller, flags, message",
    [
        ({"squash": ["tanh"]}, [], "ctrl.squash: expected none, since the actions are Discrete(5)"),
        ({"hidden": [300_000]}, [], "ctrl.cma: expected {CMA_diagonal: true}"),
        ({}, ["--ou-mean", "[0, 1]"], "rollouts.ou_mean: expected 5 numbers, one an action, or none, found 2"),
    ],
)
def test_the_rollouts_job_tells_it_before_it_collects(tmp_path, controller, flags, message):
    ended = collect(tmp_path, controller, *flags)
    assert ended.returncode == 1 and f"error: {message}" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_a_shard_records_the_actions_and_the_defaults_suit_them(tmp_path):
    ended = collect(tmp_path, {})
    assert ended.returncode == 0, ended.stderr
    recorded = json.loads((tmp_path / "data/00000.json").read_text())["action_space"]
    env = EnvConfig(kwargs={"continuous": False})
    assert recorded == {
        "text": "Discrete(5)", "size": 5, "continuous": False, "bounded": [], "env": preflight.env_stamp(env),
    }  # fmt: skip


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--cores", 1], "since the covariance matrix of C's 1183744 parameters takes"),
        (["--jobs", 1], "and C's job has (mem_mb of the rule that trains C) 23.4 GB, found a full matrix"),
        (
            ["--jobs", 1, "--set-resources", "train_controller:mem_mb=5000"],
            "(mem_mb of the rule that trains C) 5 GB, found a full matrix",
        ),
    ],
)
def test_a_dry_run_tells_it_where_rollouts_are_there(tmp_path, flags, message):
    data = tmp_path / "results/carracing/rollouts"
    data.mkdir(parents=True)
    (data / "00000.json").write_text(json.dumps({"action_space": preflight.recorded_actions(HUGE, EnvConfig())}))
    ended = run_snakemake("-n", *flags, "--config", "ctrl={squash: []}", cwd=tmp_path, check=False)
    assert ended.returncode == 1
    line = (ended.stdout + ended.stderr).strip().splitlines()[-1]
    assert line.startswith("config: ctrl.cma: expected {CMA_diagonal: true}") and message in line


def test_memory_that_grows_with_the_attempt_is_the_jobs_to_know(tmp_path):
    data = tmp_path / "results/carracing/rollouts"
    data.mkdir(parents=True)
    (data / "00000.json").write_text(json.dumps({"action_space": preflight.recorded_actions(HUGE, EnvConfig())}))
    flags = ["--jobs", 1, "--set-resources", "train_controller:mem_mb=500*attempt", "--config", "ctrl={squash: []}"]
    assert run_snakemake("-n", *flags, cwd=tmp_path, check=False).returncode == 0


def test_a_dry_run_of_the_ablation_checks_its_variants(tmp_path):
    """C with a hidden layer has a larger covariance matrix than the linear C of z alone."""
    data = tmp_path / "results/carracing/rollouts"
    data.mkdir(parents=True)
    many = dataclasses.replace(HUGE, size=2000)
    (data / "00000.json").write_text(json.dumps({"action_space": preflight.recorded_actions(many, EnvConfig())}))
    # 66,000 parameters take 261 GB, the 83,320 with a hidden layer 417 GB.
    flags = ["-n", "--jobs", 1, "--set-resources", "train_controller:mem_mb=300000"]
    values = ["--config", "ctrl={squash: [], features: z}"]
    assert run_snakemake(*flags, *values, "--", "ctrl", cwd=tmp_path).returncode == 0
    ended = run_snakemake(*flags, *values, "--", "ablation", cwd=tmp_path, check=False)
    line = (ended.stdout + ended.stderr).strip().splitlines()[-1]
    assert ended.returncode == 1 and "Traceback" not in ended.stdout + ended.stderr
    assert line.startswith("config: ctrl.cma: expected {CMA_diagonal: true}") and line.endswith("ablation's v_hidden")
