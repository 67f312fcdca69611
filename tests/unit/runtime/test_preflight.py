"""Settings of C that contradict the environment raise before any training."""

import json

import gymnasium as gym
import numpy as np
import pytest

from worldmodels.envs.actions import ActionCodec
from worldmodels.models.controller import Controller, flatten_parameters
from worldmodels.runtime import preflight
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.loading import load_config
from worldmodels.runtime.preflight import (
    Actions,
    check_covariance,
    check_squash,
    control_group_limits,
    count_parameters,
)

FIVE = ActionCodec(gym.spaces.Discrete(5)).summary
TWO = ActionCodec(gym.spaces.Box(np.array([-1.0, -np.inf], np.float32), np.ones(2, np.float32))).summary
HUGE = Actions("Discrete(4096)", 4096, False, [])


def test_defaults_of_carracing_suit_its_discrete_actions():
    plain, discrete = (load_config({"env": {"kwargs": kwargs}}) for kwargs in ({}, {"continuous": False}))
    assert plain.ctrl.squash == ["tanh", "tanh", "clip_tanh"] and plain.rollouts.ou_mean == [0.0, 0.3, -0.2]
    assert discrete.ctrl.squash == discrete.rollouts.ou_mean == discrete.rollouts.ou_sigma == []
    assert discrete.ctrl.target_return == plain.ctrl.target_return and discrete.rollouts.mixture["ou"] == 0.8
    for kwargs in ({"continuous": True}, {"lap_complete_percent": 0.9}):
        assert load_config({"env": {"kwargs": kwargs}}).ctrl.squash == plain.ctrl.squash
    given = load_config({"env": {"kwargs": {"continuous": False}}, "ctrl": {"squash": ["tanh"]}})
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
def test_squash_that_does_not_suit_the_actions_raises(names, actions, message):
    with pytest.raises(UserError, match=message):
        check_squash(names, actions)


def test_squash_that_suits_the_actions_passes():
    for names, actions in [([], FIVE), ([], TWO), (["clip"], TWO), (["tanh", "clip"], TWO)]:
        check_squash(names, actions)


@pytest.mark.parametrize("features, hidden", [("zh", []), ("z", [40]), ("zhc", [7, 5])])
def test_parameter_count_is_that_of_the_controller(features, hidden):
    counted = count_parameters(features, hidden, 8, 16, 3)
    assert counted == len(flatten_parameters(Controller(8, 16, 3, features, hidden)))


def test_covariance_matrix_beyond_the_memory_raises():
    message = (
        r"ctrl.cma: expected \{CMA_diagonal: true\}.* 86016 parameters takes 444 GB of memory and %s, found a full"
    )
    with pytest.raises(UserError, match=message % r"C's job has \(mem_mb of the rule that trains C\) 64 GB"):
        check_covariance(86016, {}, 64e9)
    with pytest.raises(UserError, match="takes 444 GB"):
        check_covariance(86016, {"CMA_diagonal": 100}, 64e9)  # a full matrix from generation 101 on
    check_covariance(86016, {"CMA_diagonal": True}, 64e9)
    check_covariance(867, {}, 64e9)
    check_covariance(86016, {}, float("inf"))


def test_memory_limit_is_that_of_the_control_group(monkeypatch):
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


def test_action_space_of_another_environment_is_ignored(tmp_path):
    settings = preflight.controller_settings(load_config({}))
    path = tmp_path / "00000.json"
    preflight.check_recorded_actions(path, settings, EnvConfig())  # there is none
    for content in [
        "",
        "{}",
        '{"action_space": {"size": 3}}',
        json.dumps({"action_space": preflight.recorded_actions(HUGE, EnvConfig())}),
    ]:
        path.write_text(content)
        preflight.check_recorded_actions(path, settings, EnvConfig(id="Other-v0"))
    with pytest.raises(UserError, match=r"ctrl\.squash: expected none"):
        preflight.check_recorded_actions(path, settings, EnvConfig())
