"""A cluster for the tests, and runs of the smoke preset that the tests share.

The tests mostly wait, so several processes of pytest-xdist run them side by side on one cluster.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.box import Box, install
from cluster.submission import CONTROLLER, MODELS, TEST, cluster_command, local_command, run
from helpers.sharing import fill_once

BOX = pytest.StashKey[Box]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Bring the cluster up, in the process that starts the others."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    if os.getuid() != 0:
        pytest.exit("these tests bring up a SLURM cluster and must be root for that", returncode=1)
    # Python does not do so where the tests themselves run in the background. One of them sends Ctrl-C to Snakemake.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    install()
    root = Path(tempfile.mkdtemp(prefix="box-"))  # not under pytest's folder, which munge finds too private
    root.chmod(0o755)
    session.config.stash[BOX] = Box(root).__enter__()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Bring the cluster down."""
    box = config.stash.get(BOX, None)
    if box:
        box.__exit__()
        shutil.rmtree(box.root)


@pytest.fixture(scope="session")
def box() -> Box:
    """Return the running cluster."""
    return Box(Path(os.environ["SLURM_CONF"]).parent)


@pytest.fixture(scope="session")
def models(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with rollouts, V and M that were made on the cluster: not to be changed."""
    return fill_once(tmp_path_factory, "models", lambda folder: run(cluster_command(MODELS), folder))


@pytest.fixture(scope="session")
def finished(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where the run has been finished on the cluster: not to be changed."""

    def finish(folder: Path) -> None:
        shutil.copytree(models, folder, dirs_exist_ok=True)
        run(cluster_command(TEST), folder)

    return fill_once(tmp_path_factory, "finished", finish)


@pytest.fixture(scope="session")
def undisturbed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Return a function that gives best.json of the controller that this machine trains without the cluster.

    The first call in any process trains the controller, from the same V and M.
    """

    def train(folder: Path) -> None:
        shutil.copytree(models, folder, dirs_exist_ok=True)
        run(local_command(CONTROLLER), folder)

    return lambda: (fill_once(tmp_path_factory, "undisturbed", train) / CONTROLLER).read_text()
