"""Training and playing on a GPU give what the CPU gives, and graphs give what single kernels give."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers.programs import run_script
from worldmodels.data.datasets import ObservationDataset
from worldmodels.data.sequences import LatentSequenceDataset
from worldmodels.envs.backends import choose_backend
from worldmodels.models.controller import flatten_parameters
from worldmodels.models.load_controller import load_controller
from worldmodels.models.mdrnn import MDRNN
from worldmodels.models.vae import ConvVAE
from worldmodels.playing.graphed_function import GraphedFunction
from worldmodels.playing.workers import start_player
from worldmodels.runtime.config import EnvConfig, WMControllerConfig, WMMDNRNNConfig
from worldmodels.runtime.log import log
from worldmodels.runtime.workers import worker_pool
from worldmodels.search.environment_player import EnvironmentPlayer
from worldmodels.search.evaluator import Evaluator
from worldmodels.training.graphed_step import GraphedStep
from worldmodels.training.mdrnn import MDRNNLearner
from worldmodels.training.vae import VAELearner

if not torch.cuda.is_available():
    pytest.exit("tests/gpu: expected a GPU that PyTorch finds, found none", returncode=1)

GPU = torch.device("cuda")
STEPS = 40


def losses(name: str, learn, batches) -> list[float]:
    """This term of every batch, per `count`."""
    torch.manual_seed(2)
    rows = [learn(batch).read() for batch in batches]
    return [row[name] / row["count"] for row in rows]


@pytest.fixture
def launched(monkeypatch):
    """As if no step could be captured."""
    monkeypatch.setattr(GraphedStep, "WARM_UP", 10**9)


def train_v(rollouts) -> list[float]:
    torch.manual_seed(1)
    vae = ConvVAE().to(GPU).train()
    learn = VAELearner(vae, torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True), 1.0, GPU).learn
    data = ObservationDataset(files=rollouts)
    return losses("train_mse", learn, [next(data.batches(64, np.random.default_rng(i))) for i in range(STEPS)])


def train_m(latents) -> list[float]:
    torch.manual_seed(1)
    config = WMMDNRNNConfig(hidden_size=32)
    data = LatentSequenceDataset(latents, 16)
    mdrnn = MDRNN(data.latent_size, data.action_size, 32, 5).to(GPU)
    optimizer = torch.optim.RMSprop(mdrnn.parameters(), lr=1e-3, alpha=0.9)
    learn = MDRNNLearner(mdrnn, optimizer, config, GPU, None, 1.0, data.rows_per_batch(8)).learn
    torch.manual_seed(3)
    return losses("gmm", learn, [next(data.batches(8, np.random.default_rng(i))) for i in range(STEPS)])


def test_v_learns_the_same_by_a_graph(rollouts, request):
    graphed = train_v(rollouts)
    request.getfixturevalue("launched")
    np.testing.assert_allclose(graphed, train_v(rollouts), rtol=0.03)
    assert graphed[-1] < graphed[0] / 2


def test_m_learns_the_same_by_a_graph(tiny_run, request):
    latents = next((tiny_run / "latents").glob("*.npz"))
    graphed = train_m(latents)
    request.getfixturevalue("launched")
    np.testing.assert_allclose(graphed, train_m(latents), rtol=0.01)
    assert graphed[-1] < graphed[0]


def line(rate: float) -> tuple[nn.Parameter, torch.optim.Optimizer, GraphedStep]:
    """A parameter that every step lowers by the rate, its optimizer, and the step."""
    weight = nn.Parameter(torch.zeros((), device=GPU))
    optimizer = torch.optim.RMSprop([weight], lr=rate, alpha=0.0)

    def step(x: torch.Tensor) -> dict[str, torch.Tensor]:
        optimizer.zero_grad(set_to_none=True)
        x = x.to(GPU)
        loss = (weight * x).mean()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach(), "size": x.sum()}

    return weight, optimizer, GraphedStep(step, optimizer, GPU)


def test_every_call_is_a_step_on_its_own_inputs():
    weight, _, step = line(0.5)
    for i in range(1, 9):
        assert step(torch.full((4,), float(i)))["size"].item() == 4 * i
        assert weight.item() == pytest.approx(-0.5 * i, rel=1e-5)


def test_other_shapes_are_steps_too():
    weight, _, step = line(0.5)
    sizes = [4, 4, 4, 4, 4, 3, 4, 1, 4]
    assert [step(torch.ones(size))["size"].item() for size in sizes] == sizes
    assert weight.item() == pytest.approx(-0.5 * len(sizes), rel=1e-5)


def test_a_changed_learning_rate_is_followed():
    weight, optimizer, step = line(0.5)
    for _ in range(6):
        step(torch.ones(4))
    optimizer.param_groups[0]["lr"] = 0.125
    for _ in range(4):
        step(torch.ones(4))
    assert weight.item() == pytest.approx(-3.5, rel=1e-5)


def test_a_step_that_waits_for_the_gpu_is_launched_kernel_by_kernel(caplog):
    weight, _, step = line(0.5)
    inner, stream = step.step, torch.cuda.current_stream()
    step.step = lambda x: inner(x.to(GPU) * x.max().item() + 0 * torch.randn(4, device=GPU))
    caplog.set_level("INFO", log.name)
    for _ in range(6):
        assert step(torch.full((4,), 2.0))["size"].item() == 16
    assert weight.item() == pytest.approx(-3.0, rel=1e-5)
    assert caplog.text.count("launched kernel by kernel") == 1
    assert torch.cuda.current_stream() == stream
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        drawn.append(torch.randn(3, device=GPU).tolist())
    assert drawn[0] == drawn[1]


def test_a_replayed_function_is_the_function():
    """What it gave may be given to it again; a function that waits for the GPU is called."""
    matrix = torch.randn(5, 5, device=GPU)
    replayed = GraphedFunction(lambda x, y: (x @ matrix + y, y + 1), GPU)
    waiting = GraphedFunction(lambda x, y: (x @ matrix + y * x.isfinite().all().item(), y + 1), GPU)
    for function in (replayed, waiting):
        y = expected = torch.zeros(3, 5, device=GPU)
        for _ in range(5):
            x = torch.randn(3, 5)
            actual, y = function(x, y)
            torch.testing.assert_close(actual, x.to(GPU) @ matrix + expected)
            expected = expected + 1
    assert replayed.graph and not waiting.graph


def flags(folder: Path, rollouts, epochs: int, device: str) -> list:
    return ["--logdir", folder, "--data-dir", Path(rollouts[0]).parent, "--num-test-files", 1,
            "--num-epochs", epochs, "--device", device]  # fmt: skip


@pytest.mark.parametrize("first", ["cuda", "cpu"])
def test_training_goes_on_from_its_saved_state(tmp_path, tiny_run, rollouts, first):
    """On the GPU, also from a state that the CPU saved."""
    shutil.copytree(tiny_run / "vae", tmp_path / "vae")
    shutil.copytree(tiny_run / "latents", tmp_path / "latents")
    for stage, sizes in {
        "train_mdrnn": ["--hidden-size", 16, "--seq-len", 16],
        "train_vae": ["--latent-size", 8],
    }.items():
        run_script(stage, *flags(tmp_path, rollouts, 2, first), *sizes)
        output = run_script(stage, *flags(tmp_path, rollouts, 4, "cuda"), *sizes).stderr
        assert "continuing after epoch 2" in output
        folder = tmp_path / stage.removeprefix("train_")
        history = json.loads((folder / "best.json").read_text())["history"]
        assert [row["epoch"] for row in history] == [1, 2, 3, 4]
        assert history[-1]["loss"] < history[0]["loss"]


def test_the_gpu_drives_as_the_cpu(tiny_run):
    """Some episodes of candidates around a controller; bits differ, and with them where a car leaves the road."""
    ctrl = WMControllerConfig(lanes=4, time_limit=60)
    mean = flatten_parameters(load_controller(tiny_run / "ctrl/best.tar")[0])
    candidates = mean + 0.05 * np.random.default_rng(1).standard_normal((8, len(mean)))
    actual = []
    for device in ("cpu", "cuda"):
        load = (EnvironmentPlayer.load, str(tiny_run), EnvConfig(), choose_backend(EnvConfig()), ctrl, device, 1)
        with worker_pool(2, start_player, *load) as pool:
            evaluator = Evaluator(pool, ctrl.lanes)
            actual.append(evaluator.collect(evaluator.submit(candidates, list(range(8)))))
    np.testing.assert_allclose(actual[0][0], actual[1][0], atol=3.0)
