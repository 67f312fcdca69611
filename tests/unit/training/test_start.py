"""C's search starts where `ctrl.start` says, and another shape raises."""

import logging

import numpy as np
import pytest

from helpers.models import untrained_world
from worldmodels.models.controller import Controller, flatten_parameters
from worldmodels.runtime.config import WMControllerConfig
from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import save_checkpoint
from worldmodels.training.controller import make_search
from worldmodels.training.start import load_start

WORLD = untrained_world()
WORLD.digests = {"vae": "v", "mdrnn": "m"}
STEPS = {"rollouts": 100, "controller": 20}


def save(path, controller: Controller, **more) -> str:
    sizes = {"latent_size": 8, "hidden_size": 16, "action_size": 3}
    shape = {"features": controller.features, "hidden": [layer.out_features for layer in controller.hidden]}
    content = {"state_dict": controller.state_dict(), "config": sizes | shape, "env_steps": STEPS}
    save_checkpoint(path, {**content, **WORLD.digests, **more})
    return str(path)


def test_search_starts_at_the_earlier_controller(tmp_path):
    earlier, new = Controller(8, 16, 3), Controller(8, 16, 3)
    start = load_start(save(tmp_path / "c.tar", earlier), new, WORLD)
    search = make_search(new, WMControllerConfig(pop_size=4), 1, start.parameters)
    assert np.array_equal(search.mean, flatten_parameters(earlier))
    assert not make_search(new, WMControllerConfig(pop_size=4), 1, load_start("", new, WORLD).parameters).mean.any()


@pytest.mark.parametrize(
    "more, steps",
    [({}, {"start": 20}), ({"vae": "another"}, {"start": 120}), ({"env_steps": {}}, {})],
)
def test_shared_rollouts_count_once(tmp_path, more, steps):
    path = save(tmp_path / "c.tar", Controller(8, 16, 3), **more)
    assert load_start(path, Controller(8, 16, 3), WORLD).env_steps == steps


def test_weights_of_another_m_are_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        load_start(save(tmp_path / "c.tar", Controller(8, 16, 3)), Controller(8, 16, 3), WORLD)
        assert not caplog.records
        load_start(save(tmp_path / "c.tar", Controller(8, 16, 3), mdrnn="another"), Controller(8, 16, 3), WORLD)
    assert "was trained with another V or M" in caplog.text


@pytest.mark.parametrize("other", [Controller(8, 16, 3, "z"), Controller(8, 16, 3, "zh", [4])])
def test_another_shape_raises(tmp_path, other):
    with pytest.raises(
        UserError, match=r"ctrl.start: expected a C with 8 \(z\) \+ 16 \(h\) numbers, hidden layers \[\]"
    ):
        load_start(save(tmp_path / "c.tar", other), Controller(8, 16, 3), WORLD)
