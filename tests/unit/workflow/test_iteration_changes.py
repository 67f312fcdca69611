"""Each iteration's configuration starts where the one before ended."""

import pytest

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.loading import load_config
from worldmodels.workflow import configuration, iterations

RANDOM = {"ou": 0.8, "brownian": 0.1, "random": 0.1}


def load_iteration(config: dict, number: int):
    values = configuration.inherit(config, iterations.iteration_changes(config, number, "run", "data"))
    assert values.pop("iteration") == number and values.pop("inherited")
    return load_config(values)


def weights(rollouts) -> dict[str, float]:
    """Return the probability of each policy that drives."""
    if rollouts.policy != "mixture":
        return {rollouts.policy: 1.0}
    total = sum(rollouts.mixture.values())
    return {name: weight / total for name, weight in rollouts.mixture.items() if weight}


@pytest.mark.parametrize(
    "rollouts, first, later",
    [
        ({}, RANDOM, {"agent": 0.6, "ou": 0.32, "brownian": 0.04, "random": 0.04}),
        ({"policy": "random"}, {"random": 1.0}, {"agent": 0.6, "random": 0.4}),
        ({"policy": "agent"}, RANDOM, {"agent": 1.0}),
        ({"mixture": {"agent": 3, "ou": 1}}, {"ou": 1.0}, {"agent": 0.75, "ou": 0.25}),
        ({"mixture": {"agent": 1}}, RANDOM, {"agent": 1.0}),
        ({"policy": "agent", "agent": "elsewhere"}, {"agent": 1.0}, {"agent": 1.0}),
    ],
)
def test_policies_of_the_rollouts(rollouts, first, later):
    config = {"rollouts": rollouts}
    loaded = [load_iteration(config, number) for number in range(3)]
    for number, expected in enumerate([first, later, later]):
        assert weights(loaded[number].rollouts) == pytest.approx(expected)
    assert [each.rollouts.agent for each in loaded] == [rollouts.get("agent", ""), "run/iteration_0", "run/iteration_1"]
    assert config == {"rollouts": rollouts}


def test_an_iteration_starts_where_the_one_before_ended():
    loaded = [load_iteration({"seed": 5, "ctrl": {"start": "x.tar", "hidden": [4]}}, number) for number in range(2)]
    assert [each.ctrl.start for each in loaded] == ["x.tar", "run/iteration_1/ctrl/start.tar"]
    assert [each.data_dir for each in loaded] == ["data/iteration_0", "data/iteration_1"]
    assert all(each.seed == 5 and each.ctrl.hidden == [4] for each in loaded)


def test_folders_of_the_runs():
    assert iterations.run_folders("r", [], 0) == {"": "r"}
    assert iterations.run_folders("r", [4], 0) == {"seed_4_": "r/seed_4"}
    assert iterations.run_folders("r", [4], 2) == {
        "seed_4_iteration_0_": "r/seed_4/iteration_0", "seed_4_iteration_1_": "r/seed_4/iteration_1",
    }  # fmt: skip


@pytest.mark.parametrize("number", [0, -1, "two", True, 1.5, [3]])
def test_other_than_a_number_of_iterations_raises(number):
    with pytest.raises(UserError, match="iterations: expected a whole number of at least 1, found"):
        iterations.check_iterations(number)
