"""Rollouts do not depend on shards, cores or worker processes, and count the agent's steps."""

import numpy as np
import pytest
import torch

from helpers.environments import SPACE
from helpers.programs import run_script
from worldmodels.data.collection import generate_rollouts
from worldmodels.data.episodes import count_steps, read_rollout
from worldmodels.envs.lanes import make_lanes
from worldmodels.models.load_controller import load_controller
from worldmodels.playing.agent import Squash, load_world_model
from worldmodels.playing.episodes import play_episodes
from worldmodels.runtime.config import EnvConfig, RolloutsConfig

CPU = torch.device("cpu")


def test_rollouts_do_not_depend_on_shards_or_cores(rollouts, tmp_path):
    run_script(
        "collect_rollouts", "--data-dir", tmp_path, "--num-rollouts", 6, "--shard-size", 2, "--seq-len", 60,
        "--gymnasium-share", 0.5, "--threads", 3,
    )  # fmt: skip
    again = sorted(str(path) for path in tmp_path.glob("*.npz"))
    assert len(again) == 6
    for first, second in zip(rollouts, again):
        assert open(first, "rb").read() == open(second, "rb").read()  # noqa: SIM115


def test_generate_rollouts_with_workers(tmp_path):
    summaries = generate_rollouts(str(tmp_path), num_rollouts=2, seq_len=3, num_workers=2,
                                  rollouts=RolloutsConfig(num_rollouts=2, shard_size=1, seq_len=3))  # fmt: skip
    assert len(summaries) == 2 and len(list(tmp_path.glob("*.npz"))) == 2


def test_shard_beyond_the_last_raises(tmp_path):
    flags = ["--data-dir", tmp_path, "--num-rollouts", 5, "--shard-size", 2, "--shard", 3]
    result = run_script("collect_rollouts", *flags, check=False)
    assert result.returncode == 1 and not list(tmp_path.iterdir())
    assert "error: --shard: expected 0 to 2, since --num-rollouts is 5 and --shard-size 2, found 3" in result.stderr


def test_agent_rollouts_are_what_the_agent_plays_and_count_its_steps(tiny_run, tmp_path):
    """Clean of noise, an episode is what the agent itself plays; however it was sharded."""
    more = ["--policy", "agent", "--agent", tiny_run, "--seq-len", 30, "--gymnasium-share", 1, "--num-rollouts", 2]
    for folder, size, noise in (("one", 2, 0), ("two", 1, 0), ("noisy", 2, 1)):
        flags = ["--data-dir", tmp_path / folder, "--shard-size", size, "--agent-noise", noise]
        run_script("collect_agent_rollouts", *flags, *more, "--threads", 2)
    first, two, noisy = (sorted((tmp_path / folder).glob("*.npz")) for folder in ("one", "two", "noisy"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in two]
    world, (controller, saved) = load_world_model(str(tiny_run), CPU), load_controller(tiny_run / "ctrl/best.tar")
    squash = Squash(saved["config"]["squash"], SPACE, CPU)
    seen = read_rollout(first[0])
    seed = int(np.load(first[0])["seed"])
    acted = []

    def policy(alive, z, h):
        acted.append(squash(controller(z=z, h=h)))
        return acted[-1]

    torch.set_num_threads(1)
    returns, lengths = play_episodes(world, make_lanes(EnvConfig(), "gymnasium", [seed]), policy, time_limit=30)
    assert lengths[0] == len(seen["rewards"]) and returns[0] == pytest.approx(seen["rewards"].sum(), abs=1e-4)
    assert np.array_equal(np.concatenate(acted), seen["actions"])
    assert not np.array_equal(read_rollout(noisy[0])["actions"], seen["actions"])
    cost = sum(saved["env_steps"].values())
    assert count_steps([str(path) for path in first]) == 60 + cost
