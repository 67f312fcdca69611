"""Environments of any kind: their actions as vectors, their pictures, their limits, and whole runs."""

import dataclasses
import json

import gymnasium as gym
import numpy as np
import pytest
import torch

from arena import ACTIONS
from helpers.programs import ROOT, run_snakemake
from worldmodels.actions import ActionCodec
from worldmodels.agent import Squash
from worldmodels.config import EnvConfig, RolloutsConfig, WMControllerConfig, load
from worldmodels.datasets import read_rollout
from worldmodels.envs import choose_backend, make_lanes, view
from worldmodels.instances import action_space
from worldmodels.rollouts import collect_shard, plan_actions
from worldmodels.settings import UserError, options

CPU = torch.device("cpu")
SIZES = {"box": 2, "discrete": 5, "multi_discrete": 6, "multi_binary": 4}
POLICIES = ("random", "brownian", "ou", "mixture")
CUBE = gym.spaces.Box(-2, 3, (2, 2), np.int64)


def arena(actions: str = "discrete", **more) -> EnvConfig:
    return EnvConfig(id="Arena-v0", import_="arena", kwargs={"actions": actions}, **more)


@pytest.mark.parametrize("space", [*ACTIONS.values(), CUBE], ids=str)
def test_actions_to_vectors_and_back(space):
    codec = ActionCodec(space)
    space.seed(1)
    for action in (space.sample() for _ in range(50)):
        vector = codec.encode(action)
        assert vector.shape == (codec.size,) and vector.dtype == np.float32
        assert (vector >= codec.low).all() and (vector <= codec.high).all()
        assert np.array_equal(codec.decode(vector), action) and space.contains(codec.decode(vector))
        assert torch.equal(codec.snap(torch.from_numpy(vector)), torch.from_numpy(vector))


def test_what_vectors_look_like():
    assert ActionCodec(ACTIONS["discrete"]).encode(-1).tolist() == [0, 1, 0, 0, 0]
    assert ActionCodec(ACTIONS["multi_discrete"]).encode(np.array([2, 0])).tolist() == [0, 0, 1, 1, 0, 0]
    assert ActionCodec(ACTIONS["multi_binary"]).encode(np.array([0, 1, 1, 0])).tolist() == [-1, 1, 1, -1]
    assert ActionCodec(ACTIONS["box"]).encode(np.array([[0.5], [-1]])).tolist() == [0.5, -1]


@pytest.mark.parametrize("kind", ACTIONS)
def test_outputs_of_a_network_become_actions(kind):
    squash = Squash([], ACTIONS[kind], CPU)
    outputs = torch.randn(9, SIZES[kind], generator=torch.Generator().manual_seed(1)) * 3
    for vector in squash(outputs).numpy():
        assert np.array_equal(squash.codec.encode(squash.codec.decode(vector)), vector)


def test_outputs_of_unbounded_actions_stay_numbers():
    space = gym.spaces.Box(np.array([-np.inf, -1, 0]), np.array([np.inf, 1, np.inf]), dtype=np.float32)
    out = Squash([], space, CPU)(torch.tensor([[5.0, 5.0, -5.0]]))
    torch.testing.assert_close(out, torch.tensor([[5.0, np.tanh(5.0), 0.0]], dtype=torch.float32))


def test_squash_is_for_continuous_actions():
    with pytest.raises(UserError, match=r"ctrl.squash: expected none, since the actions are Discrete\(5, start=-2\)"):
        Squash(["tanh"], ACTIONS["discrete"], CPU)


def test_unknown_kinds_of_actions_are_named():
    with pytest.raises(UserError, match="expected an action space that is Box, Discrete, MultiDiscrete or MultiBinary"):
        ActionCodec(gym.spaces.Tuple([gym.spaces.Discrete(2)]))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", [*ACTIONS, "unbounded"])
def test_random_policies_give_actions_of_any_space(kind, policy):
    space = ACTIONS[kind] if kind in ACTIONS else gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    codec = ActionCodec(space)
    rollouts = RolloutsConfig(policy=policy, seq_len=300, env_name="Arena-v0")
    plan = plan_actions(space, rollouts, 1, 0)
    assert plan.shape == (300, codec.size) and plan.dtype == np.float32 and np.isfinite(plan).all()
    assert all(space.contains(codec.decode(vector)) for vector in plan)
    assert len(np.unique(plan, axis=0)) > 1


@pytest.mark.parametrize("kind", ["discrete", "multi_discrete", "multi_binary"])
def test_smooth_policies_hold_discrete_actions(kind):
    def changes(policy: str) -> float:
        plan = plan_actions(ACTIONS[kind], RolloutsConfig(policy=policy, env_name="Arena-v0"), 1, 0)
        return float((np.diff(plan, axis=0) != 0).any(axis=1).mean())

    assert changes("ou") < 0.6 * changes("random") and changes("brownian") < 0.6 * changes("random")


def test_a_rollout_is_what_an_independent_replay_gets(tmp_path):
    rollouts = RolloutsConfig(num_rollouts=2, shard_size=2, env_name="Arena-v0")
    collect_shard(str(tmp_path), arena("multi_discrete", height=32, width=48), rollouts, seed=1, shard=0)
    file = tmp_path / "00000_0000.npz"
    episode = read_rollout(file)
    env = gym.make("Arena-v0", actions="multi_discrete")
    seen, _ = env.reset(seed=int(np.load(file)["seed"]))
    for t, vector in enumerate(episode["actions"]):
        assert np.array_equal(view(seen[None], arena(height=32, width=48))[0], episode["observations"][t])
        seen, reward, ended, cut, _ = env.step(np.array([vector[:3].argmax(), vector[3:].argmax()]))
        assert np.float32(reward) == episode["rewards"][t] and ended == bool(episode["terminals"][t])
    assert ended or cut


@pytest.mark.parametrize("env", [arena(grey=True), arena("box", grey=True, height=32), EnvConfig(grey=True)], ids=str)
def test_grey_frames_have_one_channel(env):
    lanes = make_lanes(env, choose_backend(env), [1, 2])
    frames = lanes.reset()
    lanes.close()
    assert frames.shape == (2, env.height, env.width, 1) and frames.max() > 0


def test_grey_is_luminance():
    frames = np.full((1, 64, 64, 3), (200, 100, 50), np.uint8)
    assert np.unique(view(frames, EnvConfig(grey=True))).tolist() == [round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)]


def test_a_grey_environment_needs_no_option():
    env = EnvConfig(id="Arena-v0", import_="arena", kwargs={"colour": False})
    assert make_lanes(env, "gymnasium", [1]).reset().shape == (1, 64, 64, 1)


@pytest.mark.parametrize("env, size", [(arena("box"), 2), (EnvConfig(), 3)], ids=["gymnasium", "the backend for cars"])
def test_an_action_lasts_frame_skip_steps(env, size):
    """Rewards add up, the episode is as long, and the last frame is the same as of single steps."""
    action = np.full((1, size), 0.1, np.float32)
    backend = choose_backend(env)
    single, skipping = (make_lanes(dataclasses.replace(env, frame_skip=skip), backend, [5]) for skip in (1, 4))
    single.reset(), skipping.reset()
    one = np.array([0])
    for _ in range(3):
        parts = [single.step(one, action) for _ in range(4)]
        frames, rewards, *_ = skipping.step(one, action)
        np.testing.assert_allclose(rewards, sum(part[1] for part in parts), rtol=1e-5)
        assert np.array_equal(frames, parts[-1][0])
    assert single.limit == 4 * skipping.limit or single.limit == 30
    single.close(), skipping.close()


def test_the_episode_limit_is_an_option():
    env = arena("box", max_episode_steps=3, frame_skip=2)
    lanes = make_lanes(env, "gymnasium", [1])
    lanes.reset()
    ends = [lanes.step(np.array([0]), np.zeros((1, 2), np.float32))[3][0] for _ in range(2)]
    assert ends == [False, True] and lanes.limit == 2


@pytest.mark.parametrize(
    "env, message",
    [
        (EnvConfig(id="Endless-v0", import_="arena"), "env.max_episode_steps: expected a number, since Endless-v0"),
        (EnvConfig(import_="no_such_package"), "env.import: expected a module to import, found 'no_such_"),
        (EnvConfig(id="Blackjack-v1"), "env.max_episode_steps: expected a number"),
        (EnvConfig(id="Acrobot-v1", kwargs={"render_mode": "rgb_array_list"}), ""),
    ],
)  # fmt: skip
def test_environments_that_cannot_be_are_named(env, message):
    if not message:  # another way of rendering is replaced
        assert make_lanes(env, "gymnasium", [1]).reset().shape == (1, 64, 64, 3)
        return
    with pytest.raises(UserError, match=message):
        action_space(env)


def test_nothing_of_carracing_is_meant_for_others():
    car, other = load({}), load({"env": {"id": "Pendulum-v1"}})
    assert (car.logdir, car.data_dir) == ("results/carracing", "results/carracing/rollouts")
    assert (other.logdir, other.data_dir) == ("results/pendulum", "results/pendulum/rollouts")
    assert other.rollouts.ou_mean == other.rollouts.ou_sigma == other.ctrl.squash == []
    assert other.ctrl.stall_limit == other.ctrl.time_limit == 0 and other.ctrl.target_return is None
    assert (car.ctrl.stall_limit, car.ctrl.time_limit, car.ctrl.target_return) == (30, 1000, 950.0)
    assert load({"env": {"id": "Pendulum-v1"}, "ctrl": {"stall_limit": 30}}).ctrl.stall_limit == 30
    assert load({"ctrl": {"stall_limit": None}}).ctrl == car.ctrl == WMControllerConfig()
    assert "--import my_package" in options(EnvConfig(import_="my_package")).replace("--env-", "--")


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
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_chain(name, tmp_path, monkeypatch):
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
