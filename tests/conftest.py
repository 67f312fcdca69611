"""Real data for the tests: a few short episodes of CarRacing-v3, collected once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from worldmodels.config import EnvConfig, RolloutsConfig
from worldmodels.rollouts import collect_shard

ROOT = Path(__file__).parents[1]
SHORT = RolloutsConfig(num_rollouts=6, shard_size=3, seq_len=60, gymnasium_share=0.5)


@pytest.fixture(autouse=True)
def two_threads():
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def rollouts(tmp_path_factory) -> list[str]:
    """Six episodes of 60 steps, rendered by gymnasium and, where it is installed, by EnvPool in turn."""
    folder = tmp_path_factory.mktemp("rollouts")
    for shard in range(2):
        collect_shard(str(folder), EnvConfig(), SHORT, seed=1, shard=shard)
    return sorted(str(path) for path in folder.glob("*.npz"))


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A finished run of the smoke preset, in a folder of its own: not to be changed."""
    folder = tmp_path_factory.mktemp("smoke")
    run_snakemake("--cores", 2, "--configfile", ROOT / "presets/smoke.yaml", cwd=folder)
    return folder


def run_script(name: str, *flags, check: bool = True, **kwargs) -> subprocess.CompletedProcess:
    """Run scripts/<name>.py as a user would."""
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, **kwargs)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def run_snakemake(*flags, cwd: Path, repo: Path = ROOT, check: bool = True) -> subprocess.CompletedProcess:
    """Run the workflow of the repository in the folder cwd."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(repo / "Snakefile"), *map(str, flags)]
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
