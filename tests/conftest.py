"""Real data for the tests: a few short episodes of CarRacing-v3, collected once."""

import shutil
import sys
from pathlib import Path
from types import ModuleType

import gymnasium as gym
import pytest
import torch

from helpers.programs import ROOT, SMOKE, run_script, run_snakemake
from helpers.sharing import fill_once
from worldmodels.data.collection import collect_shard
from worldmodels.envs.making import make_gymnasium
from worldmodels.runtime.config import EnvConfig, RolloutsConfig

SHORT = RolloutsConfig(num_rollouts=6, shard_size=3, seq_len=60, gymnasium_share=0.5)


# Files that take longest come first, so that no process is left alone with one of them.
SLOW = (
    "test_kill", "test_staleness", "test_extending", "test_documents", "test_whole_chain", "test_bench",
    "test_runtime_keys",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="repeat slow tests in more variants")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: order.get(item.path.stem, len(SLOW)))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def rollouts(tmp_path_factory) -> list[str]:
    """Six episodes of 60 steps, by gymnasium and, where it is installed, EnvPool in turn: not to be changed."""

    def make(folder: Path) -> None:
        for shard in range(2):
            collect_shard(str(folder), EnvConfig(), SHORT, seed=1, shard=shard)

    return sorted(str(path) for path in fill_once(tmp_path_factory, "rollouts", make).glob("*.npz"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, rollouts) -> Path:
    """The logdir of a tiny run, made script by script, in a folder with a difficult name: not to be changed."""
    name = "it's $(touch broken) ü"

    def make(folder: Path) -> None:
        logdir = folder / name
        where = ["--logdir", logdir, "--data-dir", Path(rollouts[0]).parent]
        tiny = ["--num-epochs", 1, "--num-test-files", 1]
        search = ["--pop-size", 4, "--num-generations", 2, "--validation-episodes", 2, "--lanes", 2, "--time-limit", 30]
        process = [
            run_script("train_vae", *where, *tiny, "--latent-size", 8),
            run_script("encode_latents", *where),
            run_script("train_mdrnn", *where, *tiny, "--hidden-size", 16, "--seq-len", 16),
            run_script("train_controller", *where, *search, "--log", logdir / "ctrl.log", "--threads", 2),
        ]
        (logdir / "said.txt").write_text("".join(part.stderr for part in process))

    return fill_once(tmp_path_factory, "a run", make) / name


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A finished run of the smoke preset with short episodes, in a folder of its own: not to be changed."""

    def make(folder: Path) -> None:
        run_snakemake("--cores", 2, "--configfile", *(ROOT / file for file in SMOKE), cwd=folder, fork=False)

    return fill_once(tmp_path_factory, "smoke", make)


@pytest.fixture
def dots(tmp_path, monkeypatch) -> ModuleType:
    """The module my_dots, fresh in the working directory."""
    shutil.copy(ROOT / "tests/samples/own/my_dots.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("my_dots", None)
    make_gymnasium(EnvConfig(id="Dot-v0", import_="my_dots"))
    module = sys.modules["my_dots"]
    module.STARTS.clear()
    module.CLOSES.clear()
    yield module
    for name in ("Dot-v0", "Board-v0", "Slider-v0"):
        gym.registry.pop(name, None)
    sys.modules.pop("my_dots", None)
