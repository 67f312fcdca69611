"""A cluster for the tests, and the smoke preset run on it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from box import Box, install

ROOT = Path(__file__).parents[2]
PRESET = ["--configfile", ROOT / "presets/smoke.yaml"]
# Two cores for all: and what a site would not set so low.
STAGES = ("vae", "latents", "mdrnn", "ctrl", "evaluate_shard")
HERE = ["--set-threads", *(f"{rule}=2" for rule in STAGES), "--latency-wait", "5",
        "--slurm-init-seconds-before-status-checks", "3"]  # fmt: skip


def command(*flags) -> list[str]:
    """The users' command line, as tests/cluster runs it."""
    start = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--profile", ROOT / "profiles/slurm"]
    return [str(part) for part in (*start, *PRESET, *HERE, *flags)]


def submit(*flags, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
    """Run the workflow through SLURM, to its end."""
    done = subprocess.run(command(*flags), cwd=cwd, capture_output=True, text=True, timeout=900)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    if os.getuid() != 0:
        pytest.fail("these tests bring up a SLURM cluster and must be root for that")
    install()
    root = Path(tempfile.mkdtemp(prefix="box-"))  # not under pytest's folder, which munge finds too private
    root.chmod(0o755)
    with Box(root) as up:
        yield up
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def finished(box, tmp_path_factory) -> Path:
    """The smoke preset, run on the cluster: not to be changed. Two evaluation shards."""
    folder = tmp_path_factory.mktemp("finished")
    submit("--config", "evaluate={shards: 2}", "--", "results/smoke/eval.json", cwd=folder)
    return folder
