"""Many dreams side by side are as one after another, and follow from their seeds."""

import math

import numpy as np
import pytest
import torch

from helpers.environments import SPACE
from helpers.models import untrained_world
from worldmodels.models.controller import Controller, flatten_parameters
from worldmodels.playing.agent import Squash, WorldModel
from worldmodels.playing.dream_episodes import BLOCK, DreamTrack, FirstLatents, play_dreams
from worldmodels.playing.dreams import choose_latent
from worldmodels.runtime.config import WMControllerConfig
from worldmodels.search.candidates import candidate_policy

LIMIT = 3 * BLOCK + 5
KINDS = [("lstm", 1), ("lstm", 2), ("gru", 1)]


def restless_world(cell: str = "lstm", layers: int = 1, terminal: float = -3.0) -> WorldModel:
    """Return a world model whose rewards have both signs, and whose dreams end at different steps."""
    world = untrained_world(cell, layers)
    with torch.no_grad():
        world.cell.gmm_linear.weight[-2] *= 10
        world.cell.gmm_linear.weight[-1] *= 30
        world.cell.gmm_linear.bias[-1] = terminal
    return world


def first_latents(count: int = 5) -> FirstLatents:
    random = torch.Generator().manual_seed(1)
    return FirstLatents(torch.randn(count, 8, generator=random), torch.randn(count, 8, generator=random) - 2)


def candidates(features: str, hidden: tuple = (), count: int = 6) -> list[Controller]:
    torch.manual_seed(2)
    return [Controller(8, 16, 3, features, hidden) for _ in range(count)]


def play(world, controllers, seeds, **settings):
    """Play the dreams as the candidates' player does."""
    first = controllers[0]
    config = WMControllerConfig(features=first.features, hidden=[layer.out_features for layer in first.hidden])
    parameters = np.stack([flatten_parameters(controller) for controller in controllers])
    policy = candidate_policy(parameters, config, world, Squash(["tanh"], SPACE, torch.device("cpu")))
    settings = {"temperature": 1.1, "time_limit": LIMIT, "features": first.features} | settings
    return play_dreams(world, first_latents(), seeds, policy, **settings)


@torch.no_grad()
def play_one(world, controller, seed, temperature=1.1, time_limit=LIMIT, stall_limit=0) -> tuple[float, int]:
    """Play one dream step by step, as plainly as can be."""
    track, squash = DreamTrack(seed, first_latents()), Squash(["tanh"], SPACE, torch.device("cpu"))
    latent, hidden = track.first[None], world.cell.get_init_hidden(1)
    rewards = []
    while True:
        uniforms, normals = track.next_block()
        for uniform, normal in zip(torch.from_numpy(uniforms), torch.from_numpy(normals)):
            action = squash(controller(**world.features(controller.features, latent, hidden)))
            *mixture, reward, terminal, hidden = world.cell(action, latent, hidden)
            latent = choose_latent(*mixture, temperature, uniform[:1], normal[None])
            rewards.append(float(reward))
            if float(uniform[1]) < float(terminal.sigmoid()) or len(rewards) == time_limit:
                return math.fsum(rewards), len(rewards)
            idle = rewards[-stall_limit:]
            if stall_limit and len(idle) == stall_limit and max(idle) <= 0:
                charge = sum(idle) / stall_limit * (time_limit - len(rewards))
                return math.fsum(rewards) + charge, len(rewards)


@pytest.mark.parametrize("features, hidden", [("z", ()), ("zh", ()), ("zh", (5,)), ("zhc", ())], ids=str)
def test_dreams_side_by_side_are_as_one_after_another(features, hidden):
    world, controllers, seeds = restless_world(), candidates(features, hidden), [3, 4, 5, 6, 3, 8]
    returns, lengths = play(world, controllers, seeds)
    expected = [play_one(world, *pair) for pair in zip(controllers, seeds)]
    assert lengths.tolist() == [length for _, length in expected]
    assert returns == pytest.approx([total for total, _ in expected], rel=1e-4, abs=1e-4)
    assert len(set(lengths)) > 2, "the dreams should end at different steps"


@pytest.mark.parametrize("cell, layers", KINDS)
def test_every_kind_of_m_dreams(cell, layers):
    world, controllers = restless_world(cell, layers), candidates("zh", count=4)
    returns, lengths = play(world, controllers, [1, 2, 3, 4])
    expected = [play_one(world, *pair) for pair in zip(controllers, [1, 2, 3, 4])]
    assert lengths.tolist() == [length for _, length in expected]
    assert returns == pytest.approx([total for total, _ in expected], rel=1e-4, abs=1e-4)


def test_a_stalled_dream_is_charged_as_an_episode_of_the_environment_is():
    world, controllers, seeds = restless_world(terminal=-100.0), candidates("zh"), [3, 4, 5, 6, 7, 8]
    returns, lengths = play(world, controllers, seeds, stall_limit=4)
    expected = [play_one(world, *pair, stall_limit=4) for pair in zip(controllers, seeds)]
    assert lengths.tolist() == [length for _, length in expected]
    assert returns == pytest.approx([total for total, _ in expected], rel=1e-4, abs=1e-4)
    assert min(lengths) < LIMIT, "a dream should stall"


def test_a_dream_is_a_function_of_its_seed():
    world, controllers = restless_world(), candidates("zh", count=1) * 4
    returns, lengths = play(world, controllers, [7, 8, 7, 9])
    assert (returns[0], lengths[0]) == (pytest.approx(returns[2]), lengths[2])
    assert len(set(np.round(returns, 3))) == 3
    again = play(world, controllers, [7, 8, 7, 9])
    assert again[0].tolist() == returns.tolist()


def test_a_dream_starts_where_v_would_have_put_the_first_frame():
    latents = first_latents()
    distances = [
        ((DreamTrack(seed, latents).first - latents.mu) / latents.logsigma.exp()).square().mean(1).min()
        for seed in range(50)
    ]
    assert max(distances) < 4, "a start should lie within V's noise of a rollout's first latent"
    nearest = {
        int(((DreamTrack(seed, latents).first - latents.mu) / latents.logsigma.exp()).square().mean(1).argmin())
        for seed in range(50)
    }
    assert nearest == set(range(5)), "every rollout's first latent should be met"


def test_temperature_zero_has_no_randomness_after_the_start():
    world, controllers = restless_world(terminal=-100.0), candidates("zh", count=1) * 2
    latents = FirstLatents(torch.zeros(1, 8), torch.full((1, 8), -100.0))
    config = WMControllerConfig(features="zh")
    parameters = np.stack([flatten_parameters(controller) for controller in controllers])
    policy = candidate_policy(parameters, config, world, Squash(["tanh"], SPACE, torch.device("cpu")))
    returns, _ = play_dreams(world, latents, [1, 2], policy, 0.0, 20)
    assert returns[0] == pytest.approx(returns[1], abs=1e-5)
