"""Real data for the tests: a few short episodes of CarRacing-v3, collected once."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
import torch

from worldmodels.config import EnvConfig, RolloutsConfig
from worldmodels.rollouts import collect_shard

ROOT = Path(__file__).parents[1]
SHORT = RolloutsConfig(num_rollouts=6, shard_size=3, seq_len=60, gymnasium_share=0.5)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take minutes first, so that no worker is left alone with one of them."""
    slow = ("test_staleness", "test_extending", "test_kill", "test_any_environment", "test_bench")
    order = {name: place for place, name in enumerate(slow)}
    items.sort(key=lambda item: order.get(item.path.stem, len(slow)))


@pytest.fixture(autouse=True)
def two_threads():
    torch.set_num_threads(2)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that make(folder) fills, in the first of pytest-xdist's workers to need it; the others wait for it."""
    shared = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    folder, made = shared / name, shared / f"{name}.made"
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def rollouts(tmp_path_factory) -> list[str]:
    """Six episodes of 60 steps, by gymnasium and, where it is installed, EnvPool in turn: not to be changed."""

    def make(folder: Path) -> None:
        for shard in range(2):
            collect_shard(str(folder), EnvConfig(), SHORT, seed=1, shard=shard)

    return sorted(str(path) for path in once(tmp_path_factory, "rollouts", make).glob("*.npz"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, rollouts) -> Path:
    """The logdir of a tiny run, made script by script, in a folder with a difficult name: not to be changed."""
    name = "it's $(touch broken) ü"

    def make(folder: Path) -> None:
        logdir = folder / name
        where = ["--logdir", logdir, "--data-dir", Path(rollouts[0]).parent]
        tiny = ["--num-epochs", 1, "--num-test-files", 1]
        search = ["--pop-size", 4, "--num-generations", 2, "--validation-episodes", 2, "--lanes", 2, "--time-limit", 30]
        done = [
            run_script("train_vae", *where, *tiny, "--latent-size", 8),
            run_script("encode_latents", *where),
            run_script("train_mdrnn", *where, *tiny, "--hidden-size", 16, "--seq-len", 16),
            run_script("train_controller", *where, *search, "--log", logdir / "ctrl.log", "--threads", 2),
        ]
        (logdir / "said.txt").write_text("".join(part.stderr for part in done))

    return once(tmp_path_factory, "a run", make) / name


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A finished run of the smoke preset, in a folder of its own: not to be changed."""

    def make(folder: Path) -> None:
        run_snakemake("--cores", 2, "--configfile", ROOT / "presets/smoke.yaml", cwd=folder)

    return once(tmp_path_factory, "smoke", make)


def run_script(name: str, *flags, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess:
    """Run scripts/<name>.py with the flags that a user would give."""
    done = forked.run([str(ROOT / "scripts" / f"{name}.py"), *map(str, flags)], cwd, timeout=600)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def run_snakemake(*flags, cwd: Path, repo: Path = ROOT, check: bool = True) -> subprocess.CompletedProcess:
    """Run the workflow of the repository in the folder cwd."""
    command = ["snakemake", "--snakefile", str(repo / "Snakefile"), *map(str, flags)]
    if "-n" in flags:
        done = forked.run(command, cwd, timeout=900)
    else:
        command[:1] = [sys.executable, "-m", "snakemake"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=cwd)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def planned(output: str) -> dict[str, int]:
    """The job counts that a dry run prints."""
    if "Job stats" not in output:
        return {}
    table = output.split("Job stats:")[-1]
    return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.M) if name != "total"}
