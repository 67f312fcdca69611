"""Candidates that share a batch act as each would, and workers spread over cores and GPUs."""

import numpy as np
import pytest
import torch

from helpers.environments import SPACE
from helpers.lanes import FakeLanes
from helpers.models import untrained_world
from worldmodels.models.controller import Controller, flatten_parameters
from worldmodels.models.encoding import encode
from worldmodels.playing.agent import Squash, WorldModel
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.devices import worker_device
from worldmodels.search.environment_player import EnvironmentPlayer
from worldmodels.search.evaluator import share_cores

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world() -> WorldModel:
    return untrained_world()


def test_stacked_controllers_act_as_each_would(world, monkeypatch):
    controllers = [Controller(8, 16, 3) for _ in range(3)]
    asked = []
    fake = FakeLanes([[0.0] * 3] * 3)
    fake_step = fake.step
    fake.step = lambda lanes, actions: (asked.append(actions.copy()), fake_step(lanes, actions))[1]
    fake.close = lambda: None
    monkeypatch.setattr("worldmodels.search.environment_player.make_lanes", lambda *args: fake)
    squash = Squash(["tanh"], SPACE, CPU)
    player = EnvironmentPlayer(world, EnvConfig(), "gymnasium", WMControllerConfig(stall_limit=0), squash)
    player.evaluate(np.stack([flatten_parameters(c) for c in controllers]), [1, 2, 3])
    frames = FakeLanes([[0.0]] * 3).reset()
    z, _ = encode(world.vae, torch.from_numpy(frames))
    for i, c in enumerate(controllers):
        expected = squash(c(z=z[i : i + 1], h=torch.zeros(1, 16)))
        torch.testing.assert_close(torch.from_numpy(asked[0][i : i + 1]), expected, atol=1e-5, rtol=1e-5)


def test_workers_spread_over_the_gpus(monkeypatch):
    assert worker_device("cpu", 3) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(worker_device("auto", i)) for i in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert str(worker_device("cuda:1", 2)) == "cuda:1"


@pytest.mark.parametrize("cores, expected", [(1, (1, 1)), (4, (4, 1)), (7, (4, 1)), (8, (4, 2)), (64, (4, 8))])
def test_cores_beyond_the_pieces_of_a_generation_step_environments(cores, expected):
    config = WMControllerConfig(pop_size=64, n_samples=1, lanes=16, max_workers=32, max_env_steps=2500)
    assert share_cores(cores, config) == expected
    config.sample_growth = 1000  # which makes three times the pieces in the end
    assert share_cores(cores, config)[0] == min(cores, 12)
