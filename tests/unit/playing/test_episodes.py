"""Episodes of a batch end, stall and meet their limit as single ones do."""

import numpy as np
import pytest
import torch

from helpers.lanes import FakeLanes
from helpers.models import untrained_world
from worldmodels.playing.agent import WorldModel
from worldmodels.playing.episodes import play_episodes

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world() -> WorldModel:
    return untrained_world()


def idle_policy(alive, z, h):
    return torch.zeros(len(alive), 3)


def test_ended_episodes_leave_the_batch(world):
    lanes = FakeLanes([[1.0] * 3, [2.0] * 5, [1.0]])
    returns, lengths = play_episodes(world, lanes, idle_policy)
    assert returns.tolist() == [3.0, 10.0, 1.0] and lengths.tolist() == [3, 5, 1]
    assert lanes.stepped == [[0, 1, 2], [0, 1], [0, 1], [1], [1]]


def test_time_limit(world):
    returns, lengths = play_episodes(world, FakeLanes([[1.0] * 9, [1.0] * 2]), idle_policy, time_limit=4)
    assert returns.tolist() == [4.0, 2.0] and lengths.tolist() == [4, 2]


def test_stalled_episode_is_charged_until_the_time_limit(world):
    rewards = [[1.0] + [-0.1] * 99, [1.0, -0.1, -0.1, 1.0] * 25]
    returns, lengths = play_episodes(world, FakeLanes(rewards), idle_policy, time_limit=100, stall_limit=10)
    assert lengths.tolist() == [11, 100]
    np.testing.assert_allclose(returns, [sum(rewards[0]), sum(rewards[1])], rtol=1e-6)
    whole, _ = play_episodes(world, FakeLanes(rewards), idle_policy, time_limit=100)
    np.testing.assert_allclose(returns, whole, rtol=1e-6)


def test_stalled_episode_is_not_charged_beyond_the_episode_limit(world):
    lanes = FakeLanes([[1.0] + [-0.1] * 99])
    lanes.time_limit = 50
    returns, _ = play_episodes(world, lanes, idle_policy, time_limit=100, stall_limit=10)
    np.testing.assert_allclose(returns, [1.0 - 0.1 * 49], rtol=1e-6)


@pytest.mark.parametrize("width", [0, 4])
def test_hidden_states_follow_their_lanes(world, width):
    """The hidden state that the policy sees is that of a cell stepped alone, also after others have left."""
    seen = []

    def policy(lanes, z, h):
        lanes = list(range(width) if width else lanes)
        if 1 in lanes:
            i = lanes.index(1)
            seen.append((z[i].clone(), h[i].clone()))
        return torch.zeros(len(z), 3)

    play_episodes(world, FakeLanes([[0.0] * 2, [0.0] * 6, [0.0] * 4]), policy, width=width)
    hidden = world.cell.get_init_hidden(1)
    assert len(seen) == 6
    for z, h in seen:
        torch.testing.assert_close(h, hidden[0][0])
        hidden = world.cell.next_hidden(torch.zeros(1, 3), z.unsqueeze(0), hidden)


def test_fixed_width_gives_each_lane_its_own_actions_and_rewards(world):
    lanes = FakeLanes([[1.0] * 3, [2.0] * 5, [1.0]])
    asked, step = [], lanes.step
    lanes.step = lambda alive, actions: (asked.append(actions[:, 0].tolist()), step(alive, actions))[1]
    rows = torch.arange(4.0).unsqueeze(1).expand(4, 3)
    returns, lengths = play_episodes(world, lanes, lambda _, **parts: rows, width=4)
    assert returns.tolist() == [3.0, 10.0, 1.0] and lengths.tolist() == [3, 5, 1]
    assert lanes.stepped == asked == [[0, 1, 2], [0, 1], [0, 1], [1], [1]]
