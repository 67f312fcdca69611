"""Worker processes use the threads that they get, report their errors, and close what they opened."""

import os
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.environments import dot
from worldmodels.models.controller import Controller
from worldmodels.models.mdrnn import MDRNN
from worldmodels.models.vae import ConvVAE
from worldmodels.playing.evaluation import AgentPlayer
from worldmodels.playing.replays import replay_episode
from worldmodels.playing.workers import run_with_player, start_player
from worldmodels.runtime.config import WMControllerConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.workers import worker_pool
from worldmodels.search.environment_player import EnvironmentPlayer
from worldmodels.storage.checkpoints import write_best


def die(seconds):
    os._exit(7)


def test_dead_worker_raises_at_once():
    with worker_pool(2) as pool:
        jobs = [pool.submit(die, 0), pool.submit(pow, 2, 3)]
        with pytest.raises(BrokenProcessPool):
            for job in jobs:
                job.result(timeout=60)


def fail(number):
    raise UserError("env.id: the port is taken")


def test_error_in_the_preparation_of_a_worker_reaches_its_first_task():
    with pytest.raises(UserError, match="the port is taken"), worker_pool(1, fail) as pool:
        pool.submit(pow, 2, 3).result(timeout=60)


def test_workers_have_one_thread_each():
    with worker_pool(1) as pool:
        assert pool.submit(torch.get_num_threads).result(timeout=60) == 1


@pytest.fixture
def logdir(tmp_path) -> str:
    """V, M and C, untrained, for the dots."""
    vae, mdrnn, linear = ConvVAE(3, 8, 32, 32), MDRNN(8, 3, 16, 2), Controller(8, 16, 3)
    images = {"img_channels": 3, "latent_size": 8, "height": 32, "width": 32}
    sizes = {"latent_size": 8, "action_size": 3, "hidden_size": 16, "gmm_components": 2, "squash": []}
    for stage, model, config in (("vae", vae, images), ("mdrnn", mdrnn, sizes), ("ctrl", linear, sizes)):
        write_best(tmp_path / stage, {"state_dict": model.state_dict(), "config": config})
    return str(tmp_path)


# Each environment has a process of its own, which only close() ends.
SIMULATOR = {
    "init": "import multiprocessing, time; self.process = multiprocessing.get_context('fork').Process("
            "target=time.sleep, args=(60,)); self.process.start(); open('starts', 'a').write('x')",
    "close": "self.process.kill() or open('closes', 'a').write('x')",
}  # fmt: skip


@pytest.mark.parametrize("stage", ["ctrl", "evaluate", "replay"])
def test_worker_closes_its_environments_as_it_ends(dots, logdir, stage):
    env = dot(**SIMULATOR)
    if stage == "ctrl":
        config = WMControllerConfig(env_name=env.id, squash=[], stall_limit=0)
        load = EnvironmentPlayer.load, logdir, env, "gymnasium", config, "cpu", 1
        task = EnvironmentPlayer.evaluate, np.zeros((2, 75)), [5, 6]
    else:
        load = AgentPlayer.load, logdir, env, "cpu"
        task = (AgentPlayer.play, [5, 6]) if stage == "evaluate" else (replay_episode, 5)
    with worker_pool(1, start_player, *load) as pool:
        pool.submit(run_with_player, *task).result(timeout=60)
        starts = Path("starts").read_text()
        assert len(Path("closes").read_text()) == 1  # the first one told that pictures have to be rendered
    assert Path("closes").read_text() == starts == "x" * (2 if stage == "replay" else 3)


def prepare_writer(number: int):
    return partial(Path("closes").write_text, "x")


def test_worker_closes_nothing_after_a_task_raised(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with worker_pool(1, prepare_writer) as pool:
        assert pool.submit(pow, 2, 3).result(timeout=60) == 8
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result(timeout=60)
    assert not Path("closes").exists()
    with worker_pool(1, prepare_writer) as pool:
        assert pool.submit(pow, 2, 3).result(timeout=60) == 8
    assert Path("closes").exists()
