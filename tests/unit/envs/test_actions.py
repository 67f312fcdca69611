"""Actions of any space become vectors and come back."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from arena import ACTIONS
from worldmodels.data.policies import plan_actions
from worldmodels.envs.actions import ActionCodec
from worldmodels.playing.agent import Squash
from worldmodels.runtime.config import RolloutsConfig
from worldmodels.runtime.errors import UserError

CUBE = gym.spaces.Box(-2, 3, (2, 2), np.int64)


@pytest.mark.parametrize("space", [*ACTIONS.values(), CUBE], ids=str)
def test_actions_to_vectors_and_back(space):
    codec = ActionCodec(space)
    space.seed(1)
    for action in (space.sample() for _ in range(50)):
        vector = codec.encode(action)
        assert vector.shape == (codec.size,) and vector.dtype == np.float32
        assert (vector >= codec.low).all() and (vector <= codec.high).all()
        assert np.array_equal(codec.decode(vector), action) and space.contains(codec.decode(vector))
        assert torch.equal(codec.snap(torch.from_numpy(vector)), torch.from_numpy(vector))


def test_vectors_are_one_hot_or_signed():
    assert ActionCodec(ACTIONS["discrete"]).encode(-1).tolist() == [0, 1, 0, 0, 0]
    assert ActionCodec(ACTIONS["multi_discrete"]).encode(np.array([2, 0])).tolist() == [0, 0, 1, 1, 0, 0]
    assert ActionCodec(ACTIONS["multi_binary"]).encode(np.array([0, 1, 1, 0])).tolist() == [-1, 1, 1, -1]
    assert ActionCodec(ACTIONS["box"]).encode(np.array([[0.5], [-1]])).tolist() == [0.5, -1]


def test_unknown_action_space_raises():
    with pytest.raises(UserError, match="expected an action space that is Box, Discrete, MultiDiscrete or MultiBinary"):
        ActionCodec(gym.spaces.Tuple([gym.spaces.Discrete(2)]))


def test_huge_bounds_count_as_unbounded():
    most = np.finfo(np.float32).max
    space = gym.spaces.Box(np.array([-most, -1, 0], np.float32), np.array([most, 1, 1e31], np.float32))
    codec = ActionCodec(space)
    assert codec.bounded.tolist() == [False, True, False]
    assert codec.low.tolist() == [-np.inf, -1, 0] and codec.high.tolist() == [np.inf, 1, np.inf]
    outputs = Squash([], space, torch.device("cpu"))(torch.full((2, 3), 5.0))
    assert outputs[0].tolist() == [5.0, pytest.approx(0.9999, abs=1e-4), 5.0]
    for policy in ("random", "brownian", "ou"):
        plan = plan_actions(space, RolloutsConfig(policy=policy, seq_len=200, env_name="Wide-v0"), 1, 0)
        assert np.isfinite(plan).all() and np.abs(plan).max() < 100, policy
        assert all(space.contains(codec.decode(vector)) for vector in plan)
    assert not ActionCodec(gym.spaces.Box(-np.inf, np.inf, (2,), np.int64)).bounded.any()
