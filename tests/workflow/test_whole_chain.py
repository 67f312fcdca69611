"""The whole chain works with every kind of actions."""

import json

import numpy as np
import pytest

from helpers.programs import ROOT, run_snakemake
from worldmodels.data.episodes import read_rollout

TINY = {
    "rollouts": {"num_rollouts": 4, "shard_size": 4, "seq_len": 60},
    "vae": {"num_epochs": 1, "images_per_epoch": 128, "num_test_files": 1},
    "mdrnn": {"num_epochs": 1, "num_test_files": 1, "hidden_size": 16},
    "ctrl": {"pop_size": 4, "num_generations": 1, "validation_episodes": 2, "lanes": 2, "time_limit": 20},
    "evaluate": {"num_episodes": 2},
}
WHOLE = {
    "BipedalWalker-v3": {"max_episode_steps": 30},
    "LunarLander-v3": {"max_episode_steps": 60, "frame_skip": 2},
    "Pendulum-v1": {"max_episode_steps": 40},
    "CartPole-v1": {},
    "Arena-v0": {"import": "arena", "kwargs": {"actions": "multi_binary"}, "grey": True},
    "VizdoomTakeCover-v1": {
        "import": "vizdoom.gymnasium_wrapper", "max_episode_steps": 60, "crop": [60, 40, 0, 0],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_whole_chain_of_an_environment(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests/samples"))
    (tmp_path / "tiny.json").write_text(json.dumps({**TINY, "env": {"id": name, **WHOLE[name]}}))
    target = [] if name == "Arena-v0" else ["--", "evaluate"]  # with all figures once
    run_snakemake("--cores", 2, "--configfile", "tiny.json", *target, cwd=tmp_path)
    logdir = tmp_path / "results" / name.split("-")[0].lower()
    result = json.loads((logdir / "eval.json").read_text())
    assert result["env"] == name and result["episodes"] == 2 and np.isfinite(result["mean"])
    made = read_rollout(logdir / "rollouts/00000_0000.npz")
    assert made["observations"].shape[1:] == (64, 64, 1 if name == "Arena-v0" else 3)
    if name == "Pendulum-v1":  # all its rewards are negative: nothing ends it early
        assert set(result["lengths"]) == {40}
