"""M's training computes the plain loss, weighs every row the same, and learns endings."""

import numpy as np
import pytest
import torch

from helpers.models import random_batch
from worldmodels.data.sequences import LatentSequenceDataset
from worldmodels.models.mdrnn import MDRNN, get_loss, mean_losses
from worldmodels.runtime.config import WMMDNRNNConfig
from worldmodels.storage.npz import write_npz
from worldmodels.training.mdrnn import MDRNNLearner, train_mdrnn, validate

SIZES = (32, 3, 64, 5)
CPU = torch.device("cpu")


def test_training_computes_the_plain_loss_up_to_the_rounding_of_bfloat16():
    m, data = MDRNN(*SIZES), {**random_batch(), "valid": torch.ones(6, 2), "padding": torch.zeros(6, 2)}
    optimizer = torch.optim.SGD(m.parameters())
    learner = MDRNNLearner(m, optimizer, WMMDNRNNConfig(), CPU, None, reward_scale=1.0, rows=12.0)
    terms, expected = (
        mean_losses(learner.sum_losses(*learner.tensors(data)), 32, include_reward=True),
        get_loss(m, **data),
    )
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].float(), value, rtol=0.01, atol=0.01)


@pytest.fixture
def float32(monkeypatch):
    """Training without bfloat16, whose rounding would hide small differences."""
    monkeypatch.setattr("worldmodels.training.mdrnn.has_bfloat16", lambda device: False)


def test_a_row_weighs_the_same_whatever_else_is_in_its_batch(float32):
    """The step on a batch is the sum of the steps on its sequences, of which one is mostly padding."""
    data = {**random_batch(), "padding": torch.zeros(6, 2)}
    data["padding"][1:, 1] = 1
    data["valid"] = 1 - data["padding"]
    start, steps = MDRNN(*SIZES), []
    for part in ([0, 1], [0], [1]):
        m = MDRNN(*SIZES)
        m.load_state_dict(start.state_dict())
        config = WMMDNRNNConfig(grad_clip=1e6)
        learner = MDRNNLearner(m, torch.optim.SGD(m.parameters(), lr=1.0), config, CPU, None, 1.0, rows=7.0)
        learner.learn({key: value[:, part] for key, value in data.items()})
        vectors = (torch.nn.utils.parameters_to_vector(network.parameters()) for network in (m, start))
        steps.append(torch.sub(*vectors).detach())
    torch.testing.assert_close(steps[0], steps[1] + steps[2], rtol=1e-3, atol=1e-6)
    assert steps[2].norm() > 0.01


def hazard(path, episodes: int = 200) -> LatentSequenceDataset:
    """Latents whose first number is 3 in danger, which ends an episode of up to 250 steps with probability 0.475."""
    rng, rows, lengths = np.random.default_rng(1), [], []
    for _ in range(episodes):
        danger = rng.random(250) < 0.02
        deadly = danger & (rng.random(250) < 0.475)
        lengths.append(int(deadly.argmax()) + 1 if deadly.any() else 250)
        rows.append(np.stack([danger, deadly], axis=1)[: lengths[-1]])
    danger, deadly = np.concatenate(rows).astype(np.float32).T
    latents = np.stack([3 * danger, np.zeros_like(danger)], axis=1)
    arrays = {"latents": latents, "logsigmas": np.full_like(latents, -1.0), "actions": np.zeros_like(latents)}
    write_npz(path, {**arrays, "rewards": -deadly, "terminals": deadly, "offsets": np.cumsum([0, *lengths[:-1]])})
    return LatentSequenceDataset(path, 32, num_test_files=0)


def train_on(data: LatentSequenceDataset, logdir, **values) -> dict:
    torch.set_num_threads(1)  # a network so small takes longer with two, most of all on a busy machine
    config = WMMDNRNNConfig(latent_size=2, action_size=2, hidden_size=16, logdir=str(logdir), **values)
    return train_mdrnn(data, data, config, seed=1, identity="same", device=CPU)


@pytest.mark.parametrize("logit", [-1.0, 1.0])
def test_endings_are_counted_without_padding(tmp_path, logit):
    """M that predicts no ending, or one at every step."""
    data, m = hazard(tmp_path / "latents_2.npz", episodes=20), MDRNN(2, 2, 16, 5)
    torch.nn.init.zeros_(m.gmm_linear.weight)
    m.gmm_linear.bias.data[-1] = logit
    learner = MDRNNLearner(m, torch.optim.SGD(m.parameters()), WMMDNRNNConfig(), CPU, None, 1.0, rows=7.0)
    steps, endings = len(data.arrays["terminals"]), int(data.arrays["terminals"].sum())
    predicted = (steps, endings) if logit > 0 else (0, 0)
    assert steps % 32 and validate(learner, data, seed=1)[1] == (steps, endings, *predicted)


def test_probability_of_a_terminal_is_learned(tmp_path):
    data = hazard(tmp_path / "latents_2.npz")
    result = train_on(data, tmp_path, num_epochs=16, learning_rate=0.01)
    m = MDRNN(2, 2, 16, 5)
    m.load_state_dict(result["best"]["state_dict"])
    danger = data.arrays["latents"][:, 0] == 3
    with torch.no_grad():
        *_, rewards, ends = m(data.arrays["actions"][:, None], data.arrays["latents"][:, None])
    share = data.arrays["terminals"][danger].mean().item()
    assert share == pytest.approx(0.475, abs=0.05)
    assert torch.sigmoid(ends[danger, 0]).mean().item() == pytest.approx(share, abs=0.08)
    assert rewards[danger, 0].mean().item() == pytest.approx(-share, abs=0.08)
    assert torch.sigmoid(ends[~danger, 0]).mean() < 0.01


def test_means_of_an_epoch_weigh_every_row_the_same(tmp_path, float32):
    """They do not depend on how sequences of different lengths share batches."""
    data = hazard(tmp_path / "latents_2.npz", episodes=9)
    data.arrays["logsigmas"][:] = -100.0  # whose noise would be another for each size of batch
    rows = [train_on(data, tmp_path / str(size), num_epochs=1, learning_rate=1e-9, batch_size=size)["history"][0]
            for size in (1, 7, 1000)]  # fmt: skip
    for row in rows:
        assert row["steps"] == len(data.arrays["rewards"])
        for name in ("gmm", "bce", "mse", "loss"):
            for kind in ("", "train_"):
                assert row[kind + name] == pytest.approx(rows[0][kind + name], rel=1e-4), kind + name
    m = MDRNN(2, 2, 16, 5)
    m.load_state_dict(train_on(data, tmp_path / "0", num_epochs=0)["best"]["state_dict"])
    whole = get_loss(m, **data.gather(data.sequences), reward_scale=1.0)
    assert whole["loss"].item() == pytest.approx(rows[0]["loss"], rel=1e-3)


def test_the_terminal_weight_multiplies_the_gradient_of_the_terminals_loss_and_no_reported_loss(float32):
    data = {**random_batch(), "padding": torch.zeros(6, 2)}
    data["valid"] = 1 - data["padding"]
    start, steps, losses = MDRNN(*SIZES), [], []
    for weight in (0.0, 1.0, 20.0):
        m = MDRNN(*SIZES)
        m.load_state_dict(start.state_dict())
        config = WMMDNRNNConfig(grad_clip=1e6, terminal_weight=weight)
        learner = MDRNNLearner(m, torch.optim.SGD(m.parameters(), lr=1.0), config, CPU, None, 1.0, rows=12.0)
        losses.append(learner.mean_losses(learner.sum_losses(*learner.tensors(data))))
        learner.learn(data)
        vectors = (torch.nn.utils.parameters_to_vector(network.parameters()) for network in (m, start))
        steps.append(torch.sub(*vectors).detach())
    terminal_step = steps[1] - steps[0]
    assert terminal_step.norm() > 0.001
    torch.testing.assert_close(steps[2], steps[0] + 20 * terminal_step, rtol=1e-3, atol=1e-5)
    assert losses[0]["bce"] == losses[1]["bce"] == losses[2]["bce"]
    torch.testing.assert_close(losses[2]["loss"] - losses[1]["loss"], 19 * losses[1]["bce"] / 34)
