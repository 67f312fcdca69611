"""Random policies give actions of any space, within their bounds, by their seeds."""

import gymnasium as gym
import numpy as np
import pytest

from arena import ACTIONS
from helpers.environments import SPACE
from worldmodels.data.policies import make_driver, plan_actions
from worldmodels.envs.actions import ActionCodec
from worldmodels.runtime.config import RolloutsConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.loading import load_config

POLICIES = ("random", "brownian", "ou", "mixture")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", [*ACTIONS, "unbounded"])
def test_random_policies_give_actions_of_any_space(kind, policy):
    space = ACTIONS[kind] if kind in ACTIONS else gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    codec = ActionCodec(space)
    rollouts = RolloutsConfig(policy=policy, seq_len=300, env_name="Arena-v0")
    plan = plan_actions(space, rollouts, 1, 0)
    assert plan.shape == (300, codec.size) and plan.dtype == np.float32 and np.isfinite(plan).all()
    assert all(space.contains(codec.decode(vector)) for vector in plan)
    assert len(np.unique(plan, axis=0)) > 1


@pytest.mark.parametrize("kind", ["discrete", "multi_discrete", "multi_binary"])
def test_smooth_policies_hold_discrete_actions(kind):
    def changes(policy: str) -> float:
        plan = plan_actions(ACTIONS[kind], RolloutsConfig(policy=policy, env_name="Arena-v0"), 1, 0)
        return float((np.diff(plan, axis=0) != 0).any(axis=1).mean())

    assert changes("ou") < 0.6 * changes("random") and changes("brownian") < 0.6 * changes("random")


@pytest.mark.parametrize("policy", ["random", "brownian", "ou", "mixture"])
def test_policies_stay_in_bounds_and_follow_the_seed(policy):
    rollouts = RolloutsConfig(policy=policy, seq_len=400)
    plans = [plan_actions(SPACE, rollouts, seed, episode) for seed, episode in [(1, 0), (1, 0), (1, 1), (2, 0)]]
    assert all(p.shape == (400, 3) and p.dtype == np.float32 for p in plans)
    assert all((p >= SPACE.low).all() and (p <= SPACE.high).all() for p in plans)
    assert np.array_equal(plans[0], plans[1])
    assert not np.array_equal(plans[0], plans[2]) and not np.array_equal(plans[0], plans[3])


def smoothness(policy: str) -> float:
    """Correlation of steering from one step to the next."""
    steering = np.concatenate([plan_actions(SPACE, RolloutsConfig(policy=policy), 1, e)[:, 0] for e in range(8)])
    return float(np.corrcoef(steering[:-1], steering[1:])[0, 1])


def test_smooth_policies_are_smooth_and_random_is_not():
    assert abs(smoothness("random")) < 0.1
    assert smoothness("brownian") > 0.8 and smoothness("ou") > 0.8


def test_ou_gives_gas_and_little_brake():
    actions = np.concatenate([plan_actions(SPACE, RolloutsConfig(policy="ou"), 1, e) for e in range(20)])
    assert abs(actions[:, 0].mean()) < 0.1
    assert actions[:, 1].mean() > 0.25 > 0.1 > actions[:, 2].mean()


def test_mixture_draws_each_policy():
    rollouts = RolloutsConfig(mixture={"random": 1, "ou": 1}, seq_len=200)
    jumps = [np.abs(np.diff(plan_actions(SPACE, rollouts, 1, e)[:, 0])).mean() for e in range(40)]
    assert 10 <= sum(jump > 0.4 for jump in jumps) <= 30


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"policy": "mixture", "mixture": {"uo": 1.0}},
            "rollouts.mixture: expected positive, finite weights of random",
        ),
        ({"policy": "mixture", "mixture": {}}, "rollouts.mixture: expected positive, finite weights"),
        ({"policy": "ou", "ou_mean": [0.0]}, "rollouts.ou_mean: expected 3 numbers, one an action, or none, found 1"),
    ],
)
def test_invalid_policy_raises(changes, message):
    with pytest.raises(UserError, match=message):
        plan_actions(SPACE, RolloutsConfig(**changes), 1, 0)


def test_agent_policy_without_an_agent_raises():
    with pytest.raises(UserError, match=r"rollouts\.agent: expected the logdir of an earlier run"):
        make_driver(SPACE, RolloutsConfig(policy="agent"), 1, 0, None)
    with pytest.raises(UserError, match=r"rollouts\.agent: expected the logdir of an earlier run"):
        load_config({"rollouts": {"mixture": {"ou": 1, "agent": 1}}})
