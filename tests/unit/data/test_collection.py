"""Collected rollouts keep the file contract, whatever the shards, and follow their seeds."""

import json
from concurrent.futures import ThreadPoolExecutor

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from helpers.environments import SPACE, arena
from worldmodels.data.collection import collect_shard, generate_rollouts, is_gymnasium_episode
from worldmodels.data.episodes import read_rollout
from worldmodels.envs import seeding
from worldmodels.envs.frames import frames_for_v
from worldmodels.runtime.config import EnvConfig, RolloutsConfig


def test_rollout_files_hold_the_documented_arrays(rollouts):
    assert len(rollouts) == 6
    for path in rollouts:
        episode = read_rollout(path)
        assert episode["observations"].shape == (60, 64, 64, 3) and episode["observations"].dtype == np.uint8
        assert episode["actions"].shape == (60, 3) and episode["actions"].dtype == np.float32
        assert SPACE.contains(episode["actions"][0])
        assert episode["terminals"].sum() == 0  # cut by seq_len, which is no terminal
        with np.load(path, allow_pickle=False) as archive:
            assert archive["seed"].shape == ()


def test_row_is_observation_then_action_then_reward(rollouts):
    """An independent replay in gymnasium of an episode that gymnasium rendered: the second of each pair."""
    with np.load(rollouts[1], allow_pickle=False) as archive:
        episode = dict(archive)
    env = gym.make("CarRacing-v3")
    seen, _ = env.reset(seed=int(episode["seed"]))
    for t in range(60):
        frame = Image.fromarray(seen).resize((64, 64), Image.Resampling.BILINEAR)  # with anti-aliasing
        assert np.array_equal(np.asarray(frame), episode["observations"][t])
        seen, reward, *_ = env.step(episode["actions"][t])
        assert np.float32(reward) == episode["rewards"][t]
    env.close()


def test_summary_of_a_shard(tmp_path):
    summary = collect_shard(str(tmp_path), EnvConfig(), RolloutsConfig(shard_size=2, seq_len=5), seed=3, shard=1)
    assert list(summary["episodes"]) == ["00001_0000.npz", "00001_0001.npz"]
    assert all(episode["steps"] == 5 for episode in summary["episodes"].values())
    assert summary["versions"]["gymnasium"] == gym.__version__
    json.dumps(summary)


@pytest.mark.parametrize("number", [1, 31, 33])
def test_generate_rollouts_writes_the_requested_number_of_files(tmp_path, monkeypatch, number):
    def record(lanes, drivers, steps):
        arrays = {"observations": np.zeros((1, 8, 8, 3), np.uint8), "rewards": np.zeros(1, np.float32)}
        yield from ((lane, {**arrays, "seed": np.int64(seed)}) for lane, seed in enumerate(lanes.seeds))

    monkeypatch.setattr("worldmodels.data.collection.record_episodes", record)
    monkeypatch.setattr("worldmodels.data.collection.worker_pool", lambda count: ThreadPoolExecutor(count))
    summaries = generate_rollouts(str(tmp_path), num_rollouts=number, seq_len=3)
    names = {path.name for path in tmp_path.glob("*.npz")}
    assert len(names) == number
    assert names == {name for summary in summaries for name in summary["episodes"]}
    seeds = {int(np.load(path)["seed"]) for path in tmp_path.glob("*.npz")}
    assert seeds == {seeding.track_seed(1, "rollouts", episode) for episode in range(number)}


def test_gymnasium_share():
    assert sum(is_gymnasium_episode(e, 0.125) for e in range(128)) == 16
    assert not any(is_gymnasium_episode(e, 0.0) for e in range(100))
    assert all(is_gymnasium_episode(e, 1.0) for e in range(100))


def test_rollout_equals_an_independent_replay(tmp_path):
    rollouts = RolloutsConfig(num_rollouts=2, shard_size=2, env_name="Arena-v0")
    collect_shard(str(tmp_path), arena("multi_discrete", height=32, width=48), rollouts, seed=1, shard=0)
    file = tmp_path / "00000_0000.npz"
    episode = read_rollout(file)
    env = gym.make("Arena-v0", actions="multi_discrete")
    seen, _ = env.reset(seed=int(np.load(file)["seed"]))
    for t, vector in enumerate(episode["actions"]):
        assert np.array_equal(frames_for_v(seen[None], arena(height=32, width=48))[0], episode["observations"][t])
        seen, reward, ended, cut, _ = env.step(np.array([vector[:3].argmax(), vector[3:].argmax()]))
        assert np.float32(reward) == episode["rewards"][t] and ended == bool(episode["terminals"][t])
    assert ended or cut
