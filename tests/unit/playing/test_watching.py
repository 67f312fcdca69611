"""An episode that is watched step by step is that of the official test."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch

from helpers.models import untrained_world
from worldmodels.envs.frames import frames_for_v
from worldmodels.envs.instances import Instances
from worldmodels.models.controller import Controller
from worldmodels.models.encoding import encode
from worldmodels.playing.evaluation import WIDTH, AgentPlayer
from worldmodels.playing.watching import watch
from worldmodels.runtime.config import EnvConfig

SEED = 7


@pytest.fixture(scope="module", params=["zh", "z"])
def player(request) -> Iterator[AgentPlayer]:
    """An agent with random weights in CarRacing, 25 steps per episode."""
    world = untrained_world()
    instances = Instances(EnvConfig(max_episode_steps=25, crop=[0, 12, 0, 0]))
    controller = Controller(8, 16, 3, request.param).requires_grad_(False)
    player = AgentPlayer(world, controller, world.squash([], instances.space), instances)
    yield player
    player.close()


def test_the_agent_acts_as_in_the_official_test(player):
    moments = list(watch(player, SEED))
    assert [moment.step for moment in moments] == list(range(26))
    assert [moment.is_over for moment in moments] == [False] * 25 + [True]
    tested = player.play([SEED, 1, 2])
    assert tested[SEED] == [moments[-1].total, 25]
    assert moments[-1].total != list(watch(player, 1))[-1].total


def test_moments_have_codes_and_predictions(player):
    moments = list(watch(player, SEED))
    assert moments[0].predicted is None and not moments[0].hidden[0].any()
    for before, after in pairwise(moments):
        assert after.picture.shape == (84, 96, 3) and after.frame.shape == (64, 64, 3)
        assert (frames_for_v(after.picture[None], EnvConfig()) == after.frame).all()
        batch = np.zeros((WIDTH, 64, 64, 3), np.uint8)
        batch[0] = after.frame
        assert torch.equal(encode(player.world.vae, torch.from_numpy(batch))[0][:1], after.z)
        assert not torch.equal(before.z, after.z)
    features = player.world.features(player.controller.features, moments[3].z, moments[3].hidden)
    action = player.squash(player.controller(**features))
    mus, _, logpi, _, _, hidden = player.world.cell(action, moments[3].z, moments[3].hidden)
    torch.testing.assert_close(hidden, moments[4].hidden)
    torch.testing.assert_close(mus[:, int(logpi.argmax())], moments[4].predicted)


def test_m_follows_the_actions_that_are_taken(player):
    """Full gas and steering in place of the agent's actions, from step 2 on."""
    mine = torch.tensor([1.0, 1.0, 0.0])
    calls = []

    def drive(actions: torch.Tensor) -> torch.Tensor:
        calls.append(actions)
        return actions if len(calls) <= 2 else mine.expand_as(actions)

    driven, alone = list(watch(player, SEED, drive)), list(watch(player, SEED))
    assert len(calls) == 25 and calls[0].shape == (WIDTH, 3)
    assert torch.equal(driven[2].z, alone[2].z) and not torch.equal(driven[9].z, alone[9].z)
    hidden = player.world.cell.next_hidden(mine[None], driven[5].z, driven[5].hidden)
    torch.testing.assert_close(hidden, driven[6].hidden)
