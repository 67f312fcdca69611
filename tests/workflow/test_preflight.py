"""What the environment contradicts in C's settings is told before any training."""

import dataclasses
import json

import gymnasium as gym
import numpy as np
import pytest

from helpers.programs import run_script, run_snakemake
from worldmodels import preflight
from worldmodels.actions import ActionCodec
from worldmodels.config import EnvConfig, load
from worldmodels.controller import Controller, flatten_parameters
from worldmodels.preflight import Actions, check_covariance, check_squash, control_group_limits, count_parameters
from worldmodels.settings import UserError

FIVE = ActionCodec(gym.spaces.Discrete(5)).summary
TWO = ActionCodec(gym.spaces.Box(np.array([-1.0, -np.inf], np.float32), np.ones(2, np.float32))).summary
HUGE = Actions("Discrete(4096)", 4096, False, [])


def test_defaults_of_carracing_suit_its_discrete_actions():
    plain, discrete = (load({"env": {"kwargs": kwargs}}) for kwargs in ({}, {"continuous": False}))
    assert plain.ctrl.squash == ["tanh", "tanh", "clip_tanh"] and plain.rollouts.ou_mean == [0.0, 0.3, -0.2]
    assert discrete.ctrl.squash == discrete.rollouts.ou_mean == discrete.rollouts.ou_sigma == []
    assert discrete.ctrl.target_return == plain.ctrl.target_return and discrete.rollouts.mixture["ou"] == 0.8
    for kwargs in ({"continuous": True}, {"lap_complete_percent": 0.9}):
        assert load({"env": {"kwargs": kwargs}}).ctrl.squash == plain.ctrl.squash
    given = load({"env": {"kwargs": {"continuous": False}}, "ctrl": {"squash": ["tanh"]}})
    assert given.ctrl.squash == ["tanh"]


@pytest.mark.parametrize(
    "names, actions, message",
    [
        (["tanh"], FIVE, r"ctrl.squash: expected none, since the actions are Discrete\(5\), found \['tanh'\]"),
        (["clip"] * 3, TWO, "ctrl.squash: expected 1 or 2 entries, one an action, found 3"),
        (["tanh"], TWO, "ctrl.squash: expected finite bounds for tanh, found Box"),
        (["clip", "tanh"], TWO, "ctrl.squash: expected finite bounds for tanh, found Box"),
    ],
)
def test_a_squash_that_does_not_suit_the_actions_is_named(names, actions, message):
    with pytest.raises(UserError, match=message):
        check_squash(names, actions)


def test_a_squash_that_suits_the_actions_passes():
    for names, actions in [([], FIVE), ([], TWO), (["clip"], TWO), (["tanh", "clip"], TWO)]:
        check_squash(names, actions)


@pytest.mark.parametrize("features, hidden", [("zh", []), ("z", [40]), ("zhc", [7, 5])])
def test_parameters_are_counted_as_the_controller_has_them(features, hidden):
    counted = count_parameters(features, hidden, 8, 16, 3)
    assert counted == len(flatten_parameters(Controller(8, 16, 3, features, hidden)))


def test_a_covariance_matrix_that_does_not_fit_is_named():
    message = (
        r"ctrl.cma: expected \{CMA_diagonal: true\}.* 86016 parameters takes 444 GB of memory and %s, found a full"
    )
    with pytest.raises(UserError, match=message % r"C's job has \(mem_mb of the rule ctrl\) 64 GB"):
        check_covariance(86016, {}, 64e9)
    with pytest.raises(UserError, match="takes 444 GB"):
        check_covariance(86016, {"CMA_diagonal": 100}, 64e9)  # a full matrix from generation 101 on
    check_covariance(86016, {"CMA_diagonal": True}, 64e9)
    check_covariance(867, {}, 64e9)
    check_covariance(86016, {}, float("inf"))


def test_the_machines_own_memory_is_the_limit(monkeypatch):
    monkeypatch.setattr(preflight, "control_group_limits", lambda: [1_000_000])
    assert preflight.memory_limit() == 1_000_000
    with pytest.raises(UserError, match=r"this machine has 0\.001 GB"):
        check_covariance(867, {})


def test_control_groups_of_both_versions_and_of_parents_count(tmp_path):
    (tmp_path / "cgroup").write_text("4:cpu,memory:/job/step\n3:cpuset:/x\n0::/other/part\n")
    for folder, name, text in [
        ("memory/job/step", "memory.limit_in_bytes", "9223372036854771712"),
        ("memory/job", "memory.limit_in_bytes", "300"),
        ("other/part", "memory.max", "max"),
        ("other", "memory.max", "200"),
        ("x", "memory.max", "100"),
    ]:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(f"{text}\n")
    assert sorted(control_group_limits(tmp_path / "cgroup", tmp_path)) == [200, 300, 9223372036854771712]
    assert control_group_limits(tmp_path / "none", tmp_path) == []


def collect(tmp_path, controller: dict, *flags):
    config = load({"env": {"kwargs": {"continuous": False}}, "ctrl": controller})
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
        "text": "Discrete(5)", "size": 5, "continuous": False, "bounded": [], "env": preflight.stamp(env),
    }  # fmt: skip


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--cores", 1], "since the covariance matrix of C's 1183744 parameters takes"),
        (["--jobs", 1], "and C's job has (mem_mb of the rule ctrl) 23.4 GB, found a full matrix"),
        (["--jobs", 1, "--set-resources", "ctrl:mem_mb=5000"], "(mem_mb of the rule ctrl) 5 GB, found a full matrix"),
    ],
)
def test_a_dry_run_tells_it_where_rollouts_are_there(tmp_path, flags, message):
    data = tmp_path / "results/carracing/rollouts"
    data.mkdir(parents=True)
    (data / "00000.json").write_text(json.dumps({"action_space": preflight.record(HUGE, EnvConfig())}))
    ended = run_snakemake("-n", *flags, "--config", "ctrl={squash: []}", cwd=tmp_path, check=False)
    assert ended.returncode == 1
    line = (ended.stdout + ended.stderr).strip().splitlines()[-1]
    assert line.startswith("config: ctrl.cma: expected {CMA_diagonal: true}") and message in line


def test_memory_that_grows_with_the_attempt_is_the_jobs_to_know(tmp_path):
    data = tmp_path / "results/carracing/rollouts"
    data.mkdir(parents=True)
    (data / "00000.json").write_text(json.dumps({"action_space": preflight.record(HUGE, EnvConfig())}))
    flags = ["--jobs", 1, "--set-resources", "ctrl:mem_mb=500*attempt", "--config", "ctrl={squash: []}"]
    assert run_snakemake("-n", *flags, cwd=tmp_path, check=False).returncode == 0


def test_a_dry_run_of_the_ablation_checks_its_variants(tmp_path):
    """C with a hidden layer has a larger covariance matrix than the linear C of z alone."""
    data = tmp_path / "results/carracing/rollouts"
    data.mkdir(parents=True)
    many = dataclasses.replace(HUGE, size=2000)
    (data / "00000.json").write_text(json.dumps({"action_space": preflight.record(many, EnvConfig())}))
    # 66,000 parameters take 261 GB, the 83,320 with a hidden layer 417 GB.
    flags = ["-n", "--jobs", 1, "--set-resources", "ctrl:mem_mb=300000"]
    values = ["--config", "ctrl={squash: [], features: z}"]
    assert run_snakemake(*flags, *values, "--", "ctrl", cwd=tmp_path).returncode == 0
    ended = run_snakemake(*flags, *values, "--", "ablation", cwd=tmp_path, check=False)
    line = (ended.stdout + ended.stderr).strip().splitlines()[-1]
    assert ended.returncode == 1 and "Traceback" not in ended.stdout + ended.stderr
    assert line.startswith("config: ctrl.cma: expected {CMA_diagonal: true}") and line.endswith("ablation's v_hidden")


def test_records_of_another_environment_are_not_asked(tmp_path):
    settings = preflight.controller_settings(load({}))
    path = tmp_path / "00000.json"
    preflight.check_recorded(path, settings, EnvConfig())  # there is none
    for content in [
        "",
        "{}",
        '{"action_space": {"size": 3}}',
        json.dumps({"action_space": preflight.record(HUGE, EnvConfig())}),
    ]:
        path.write_text(content)
        preflight.check_recorded(path, settings, EnvConfig(id="Other-v0"))
    with pytest.raises(UserError, match=r"ctrl\.squash: expected none"):
        preflight.check_recorded(path, settings, EnvConfig())
