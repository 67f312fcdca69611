"""M's step in bfloat16 is M's step, within bfloat16's rounding."""

import pytest
import torch

from helpers.models import untrained_world
from worldmodels.models.mdrnn_bfloat16 import Bfloat16Cell


@pytest.mark.parametrize("cell, layers", [("lstm", 1), ("lstm", 2), ("gru", 1), ("gru", 2)])
def test_steps_are_those_of_the_float32_cell(cell, layers):
    exact = untrained_world(cell, layers).cell
    rounded = Bfloat16Cell(exact)
    torch.manual_seed(1)
    hidden, other = exact.get_init_hidden(5), rounded.get_init_hidden(5)
    for _ in range(20):
        action, latent = torch.randn(5, 3), torch.randn(5, 8)
        *expected, hidden = exact(action, latent, hidden)
        *found, other = rounded(action, latent, other)
        for a, b in zip([*expected, *hidden], [*found, *other]):
            assert b.dtype == torch.float32 and a.shape == b.shape
            torch.testing.assert_close(a, b, atol=0.03, rtol=0.03)
    assert any((a != b).any() for a, b in zip(hidden, other)), "no product was rounded"
