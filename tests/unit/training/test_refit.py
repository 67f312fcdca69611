"""A C that is refit to another V and M answers as the earlier agent does."""

import numpy as np
import pytest
import torch

from helpers.models import untrained_world
from worldmodels.data.episodes import read_rollout
from worldmodels.models.controller import Controller
from worldmodels.models.encoding import encode
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.preflight import Actions
from worldmodels.training import refit
from worldmodels.training.refit import Agent, Ridge, collect_inputs, output_limits, refit_controller

UNLIMITED = np.full(3, np.inf)
DRIVING = Actions("Box(3)", 3, True, [True, True, False])


def random_controller(features: str = "zh", hidden: tuple = (), seed: int = 1) -> Controller:
    torch.manual_seed(seed)
    return Controller(8, 16, 3, features, hidden).requires_grad_(False)


def test_ridge_equals_a_direct_solution():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(200, 6)) + 3, rng.normal(size=(200, 2)) - 5
    ridge = Ridge(6, 2)
    for rows in np.split(np.arange(200), [7, 90]):
        ridge.add(x[rows], y[rows])
    matrix, bias = ridge.solve(0.3)
    # A penalty of weights is a least squares problem with a row for each weight. Centering frees the intercept.
    centered = np.vstack([x - x.mean(axis=0), np.sqrt(0.3 * 200) * np.eye(6)])
    direct = np.linalg.lstsq(centered, np.vstack([y - y.mean(axis=0), np.zeros((6, 2))]), rcond=None)[0].T
    np.testing.assert_allclose(matrix, direct, atol=1e-10)
    np.testing.assert_allclose(bias, y.mean(axis=0) - direct @ x.mean(axis=0), atol=1e-10)
    fit = ridge.fit(matrix, bias)
    errors = x @ matrix.T + bias - y
    assert fit.rows == 200 and fit.rmse == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert fit.std == pytest.approx(np.sqrt(y.var(axis=0).mean()))


def test_inputs_are_those_of_the_episodes_step_by_step(rollouts):
    """Also where episodes of other lengths are followed beside."""
    world, controller = untrained_world(), random_controller("zhc")
    episodes = [read_rollout(file) for file in rollouts[:2]]
    episodes[0] = {key: array[:25] for key, array in episodes[0].items()}
    together = collect_inputs(Agent(world, controller), episodes)
    steps = {}
    for number, episode in enumerate(episodes):
        z, _ = encode(world.vae, torch.from_numpy(episode["observations"]))
        hidden = world.cell.get_init_hidden(1)
        for t, action in enumerate(episode["actions"]):
            steps[t, number] = torch.cat([z[t], hidden[0][0], hidden[1][0]])
            *_, hidden = world.cell(torch.from_numpy(action[None]), z[t : t + 1], hidden)
    expected = torch.stack([steps[key] for key in sorted(steps)])
    assert len(expected) == 25 + len(episodes[1]["rewards"])
    np.testing.assert_allclose(together, expected, atol=1e-4)


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_refit_answers_as_the_earlier_agent_does(hidden, rollouts, monkeypatch):
    """The new inputs contain the earlier ones: M is the same, and C sees c beside z and h."""
    world, earlier, new = untrained_world(), random_controller("zh", hidden), random_controller("zhc", hidden, seed=2)
    monkeypatch.setattr(refit, "STRENGTH", 1e-12)
    fit = refit_controller(rollouts, Agent(world, earlier), Agent(world, new), np.full(hidden or 3, np.inf))
    episodes = [read_rollout(file) for file in rollouts]
    expected, found = (each(collect_inputs(Agent(world, each), episodes)) for each in (earlier, new))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert fit.rows == len(expected) and fit.rmse < 1e-3 < fit.std


def test_refit_uses_as_many_rollouts_as_it_needs(rollouts, monkeypatch):
    monkeypatch.setattr(refit, "MOST_ROWS", 61)
    agent = Agent(untrained_world(), random_controller())
    assert refit_controller(rollouts, agent, agent, UNLIMITED).rows == 120


def test_outputs_beyond_the_limits_are_clipped(rollouts):
    world, earlier, new = untrained_world(), random_controller(), random_controller(seed=2)
    earlier.fc.bias.copy_(torch.tensor([50.0, 0.0, -50.0]))
    refit_controller(rollouts, Agent(world, earlier), Agent(world, new), np.array([3.0, 3.0, np.inf]))
    outputs = new(collect_inputs(Agent(world, new), [read_rollout(rollouts[0])])).mean(dim=0)
    assert float(outputs[0]) == pytest.approx(3.0, abs=1e-3) and outputs[2] < -40


@pytest.mark.parametrize(
    "squash, actions, limits",
    [
        ([], DRIVING, [3, 3, np.inf]),
        (["tanh", "clip", "clip_tanh"], DRIVING, [3, np.inf, 3]),
        (["clip_tanh"], DRIVING, [3, 3, 3]),
        ([], Actions("Discrete(3)", 3, False, []), [np.inf] * 3),
    ],
)
def test_limits_are_where_a_tanh_follows(squash, actions, limits):
    assert output_limits(random_controller(), squash, actions).tolist() == limits
    assert output_limits(random_controller(hidden=(2,)), squash, actions).tolist() == [3, 3]


def test_another_shape_raises(rollouts):
    world = untrained_world()
    agent = Agent(world, random_controller())
    with pytest.raises(UserError, match=r"ctrl.hidden: expected \[\], as the C of rollouts.agent has, found \[4\]"):
        refit_controller(rollouts, agent, Agent(world, random_controller(hidden=(4,))), UNLIMITED)
    with pytest.raises(
        UserError, match=r"rollouts.agent: expected an agent with 2 numbers per action, as this run's M"
    ):
        refit_controller(rollouts, agent, Agent(world, Controller(8, 16, 2)), UNLIMITED)
