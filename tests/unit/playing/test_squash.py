"""Outputs of C become actions within their bounds."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from arena import ACTIONS
from helpers.environments import SPACE
from worldmodels.playing.agent import Squash
from worldmodels.runtime.errors import UserError

CPU = torch.device("cpu")
SIZES = {"box": 2, "discrete": 5, "multi_discrete": 6, "multi_binary": 4}


@pytest.mark.parametrize("kind", ACTIONS)
def test_outputs_of_a_network_become_actions(kind):
    squash = Squash([], ACTIONS[kind], CPU)
    outputs = torch.randn(9, SIZES[kind], generator=torch.Generator().manual_seed(1)) * 3
    for vector in squash(outputs).numpy():
        assert np.array_equal(squash.codec.encode(squash.codec.decode(vector)), vector)


def test_outputs_of_unbounded_actions_stay_numbers():
    space = gym.spaces.Box(np.array([-np.inf, -1, 0]), np.array([np.inf, 1, np.inf]), dtype=np.float32)
    out = Squash([], space, CPU)(torch.tensor([[5.0, 5.0, -5.0]]))
    torch.testing.assert_close(out, torch.tensor([[5.0, np.tanh(5.0), 0.0]], dtype=torch.float32))


def test_squash_of_discrete_actions_raises():
    with pytest.raises(UserError, match=r"ctrl.squash: expected none, since the actions are Discrete\(5, start=-2\)"):
        Squash(["tanh"], ACTIONS["discrete"], CPU)


def test_squash_functions_respect_the_bounds():
    x = torch.tensor([[0.5, 0.5, 0.5], [-9.0, -9.0, -9.0], [9.0, 9.0, 9.0]])
    out = Squash(["tanh", "tanh", "clip_tanh"], SPACE, CPU)(x)
    wave = np.tanh(0.5)
    torch.testing.assert_close(out[0], torch.tensor([wave, (wave + 1) / 2, wave], dtype=torch.float32))
    torch.testing.assert_close(out[1], torch.tensor([-1.0, 0.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(out[2], torch.tensor([1.0, 1.0, 1.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(Squash(["clip"], SPACE, CPU)(x)[0], x[0])
    with pytest.raises(UserError, match=r"ctrl.squash: expected 1 or 3 entries, one an action, found 2"):
        Squash(["tanh", "clip"], SPACE, CPU)
    endless = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    with pytest.raises(UserError, match="expected finite bounds for tanh"):
        Squash(["tanh"], endless, CPU)
