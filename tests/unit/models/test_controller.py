"""C is a linear or small network of z, h and c, and stacked controllers act as each would."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.models import untrained_world
from worldmodels.models.controller import Controller, ManyControllers, flatten_parameters, load_parameters
from worldmodels.models.load_controller import make_controller
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.loading import load_config


def test_controller_is_one_linear_layer():
    result = Controller(32, 256, 3)
    assert sum(p.numel() for p in result.parameters()) == 867
    assert (result.latent_size, result.hidden_size, result.action_size) == (32, 256, 3)
    z, h = torch.randn(4, 32), torch.randn(4, 256)
    torch.testing.assert_close(result(z=z, h=h), torch.cat([z, h], 1) @ result.fc.weight.T + result.fc.bias)


@pytest.mark.parametrize("features", ["zh", "zhc"])
def test_parts_are_taken_by_name_in_any_order(features):
    result = Controller(16, 16, 3, features, hidden=[5])
    parts = {name: torch.randn(4, 16) for name in features}
    expected = result(torch.cat(list(parts.values()), dim=-1))  # z before h, as the specification concatenates them
    backwards = dict(reversed(parts.items()))
    assert torch.equal(result(**backwards), expected)
    many = ManyControllers(torch.from_numpy(np.stack([flatten_parameters(result)] * 4)).float(), result)
    torch.testing.assert_close(many.act(slice(None), **backwards), expected)


Z, H = torch.zeros(2, 8), torch.zeros(2, 16)


@pytest.mark.parametrize(
    "state, parts, error, message",
    [
        ([H, Z], {}, TypeError, r"expected controller\(z=z, h=h\), or one tensor, found 2 tensors without names"),
        ([Z, H], {}, TypeError, r"expected controller\(z=z, h=h\), or one tensor, found 2 tensors without names"),
        ([Z], {"h": H}, TypeError, "found 1 tensors without names, beside h"),
        ([], {"z": Z}, TypeError, r"expected controller\(z=z, h=h\), found z"),
        ([], {}, TypeError, r"expected controller\(z=z, h=h\), found nothing"),
        ([], {"z": Z, "h": H, "c": H}, TypeError, r"expected controller\(z=z, h=h\), found z, h, c"),
        ([], {"z": H, "h": Z}, ValueError, "expected z of 8 numbers, found 16"),
        ([Z], {}, ValueError, r"expected a state of 8 \(z\) \+ 16 \(h\) numbers, found 8"),
    ],
)
def test_ambiguous_parts_raise(state, parts, error, message):
    result = Controller(8, 16, 3)
    with pytest.raises(error, match=message):
        result(*state, **parts)
    if not state:
        with pytest.raises(error, match=message):
            ManyControllers(torch.zeros(2, 75), result).act(slice(None), **parts)


def test_parameters_to_a_vector_and_back():
    first, second = Controller(32, 256, 3), Controller(32, 256, 3)
    load_parameters(flatten_parameters(first), second)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    with pytest.raises(ValueError, match="expected a vector of 867 parameters, found 3"):
        load_parameters(np.zeros(3), first)


CPU = torch.device("cpu")


@pytest.mark.parametrize("features, size", [("z", 8), ("h", 16), ("zh", 24), ("zhc", 40)])
@pytest.mark.parametrize("hidden", [[], [40], [7, 5]])
def test_stacked_controllers_of_any_shape_act_as_each_would(features, size, hidden):
    result, torch_world = [], untrained_world(layers=2)
    for _ in range(4):
        result.append(make_controller({"features": features, "hidden": hidden}, torch_world.cell))
    assert result[0].layers[0].in_features == size and result[0].fc.out_features == 3
    many = ManyControllers(torch.from_numpy(np.stack([flatten_parameters(c) for c in result])).float(), result[0])
    z, state = torch.randn(4, 8), (torch.randn(4, 32), torch.randn(4, 32))
    inputs = torch_world.features(features, z, state)
    for alive in ([0, 1, 2, 3], [1, 3]):
        out = many.act(np.array(alive), **{name: part[alive] for name, part in inputs.items()})
        for row, i in enumerate(alive):
            expected = result[i](**{name: part[i : i + 1] for name, part in inputs.items()})[0]
            torch.testing.assert_close(out[row], expected, atol=1e-5, rtol=1e-5)


def test_features_with_c_of_a_gru_raise():
    with pytest.raises(UserError, match=r"ctrl.features: expected z, h or zh"):
        load_config({"mdrnn": {"cell": "gru"}, "ctrl": {"features": "zhc"}})
    with pytest.raises(UserError, match=r"ctrl.features: expected z, h or zh"):
        make_controller({"features": "zhc"}, untrained_world("gru").cell)


def test_linear_controller_has_the_published_parameter_names():
    assert list(Controller(8, 16, 3).state_dict()) == ["fc.weight", "fc.bias"]
    assert isinstance(Controller(8, 16, 3, "z", [5]).layers[0], nn.Linear)
