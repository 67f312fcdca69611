"""Rollouts: the file contract, seeding by identity, the policies, both backends, and the one resize."""

import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image

from helpers.programs import run_script
from worldmodels import seeding
from worldmodels.agent import Squash, load_world_model, play_episodes
from worldmodels.config import EnvConfig, RolloutsConfig, load
from worldmodels.controller import load_controller
from worldmodels.datasets import count_steps, read_rollout
from worldmodels.envs import choose_backend, make_lanes, resize_frames
from worldmodels.rollouts import collect_shard, generate_rollouts, in_gymnasium, make_driver, plan_actions
from worldmodels.settings import UserError

CPU = torch.device("cpu")
SPACE = gym.spaces.Box(np.array([-1.0, 0.0, 0.0], np.float32), np.ones(3, np.float32))
HAS_ENVPOOL = importlib.util.find_spec("envpool") is not None
BACKENDS = ["gymnasium", *(["envpool"] if HAS_ENVPOOL else [])]


def test_the_file_contract(rollouts):
    assert len(rollouts) == 6
    for path in rollouts:
        episode = read_rollout(path)
        assert episode["observations"].shape == (60, 64, 64, 3) and episode["observations"].dtype == np.uint8
        assert episode["actions"].shape == (60, 3) and episode["actions"].dtype == np.float32
        assert SPACE.contains(episode["actions"][0])
        assert episode["terminals"].sum() == 0  # cut by seq_len, which is no terminal
        with np.load(path, allow_pickle=False) as archive:
            assert archive["seed"].shape == ()


def test_a_row_is_what_was_seen_then_done_then_got(rollouts):
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


def test_seeds_do_not_depend_on_shards_or_cores(rollouts, tmp_path):
    run_script(
        "collect_rollouts", "--data-dir", tmp_path, "--num-rollouts", 6, "--shard-size", 2, "--seq-len", 60,
        "--gymnasium-share", 0.5, "--threads", 3,
    )  # fmt: skip
    again = sorted(str(path) for path in tmp_path.glob("*.npz"))
    assert len(again) == 6
    for one, other in zip(rollouts, again):
        assert open(one, "rb").read() == open(other, "rb").read()  # noqa: SIM115


def test_the_summary_of_a_shard(tmp_path):
    summary = collect_shard(str(tmp_path), EnvConfig(), RolloutsConfig(shard_size=2, seq_len=5), seed=3, shard=1)
    assert list(summary["episodes"]) == ["00001_0000.npz", "00001_0001.npz"]
    assert all(episode["steps"] == 5 for episode in summary["episodes"].values())
    assert summary["versions"]["gymnasium"] == gym.__version__
    json.dumps(summary)


def test_generate_rollouts_with_workers(tmp_path):
    summaries = generate_rollouts(str(tmp_path), num_rollouts=2, seq_len=3, num_workers=2,
                                  rollouts=RolloutsConfig(num_rollouts=2, shard_size=1, seq_len=3))  # fmt: skip
    assert len(summaries) == 2 and len(list(tmp_path.glob("*.npz"))) == 2


@pytest.mark.parametrize("number", [1, 31, 33])
def test_generate_rollouts_writes_as_many_files_as_asked_for(tmp_path, monkeypatch, number):
    def play(lanes, drivers, steps):
        arrays = {"observations": np.zeros((1, 8, 8, 3), np.uint8), "rewards": np.zeros(1, np.float32)}
        yield from ((lane, {**arrays, "seed": np.int64(seed)}) for lane, seed in enumerate(lanes.seeds))

    monkeypatch.setattr("worldmodels.rollouts.play", play)
    monkeypatch.setattr("worldmodels.rollouts.workers", lambda count: ThreadPoolExecutor(count))
    summaries = generate_rollouts(str(tmp_path), num_rollouts=number, seq_len=3)
    names = {path.name for path in tmp_path.glob("*.npz")}
    assert len(names) == number
    assert names == {name for summary in summaries for name in summary["episodes"]}
    seeds = {int(np.load(path)["seed"]) for path in tmp_path.glob("*.npz")}
    assert seeds == {seeding.track_seed(1, "rollouts", episode) for episode in range(number)}


def test_a_shard_beyond_the_last_is_named(tmp_path):
    flags = ["--data-dir", tmp_path, "--num-rollouts", 5, "--shard-size", 2, "--shard", 3]
    result = run_script("collect_rollouts", *flags, check=False)
    assert result.returncode == 1 and not list(tmp_path.iterdir())
    assert "error: --shard: expected 0 to 2, since --num-rollouts is 5 and --shard-size 2, found 3" in result.stderr


@pytest.mark.parametrize("policy", ["random", "brownian", "ou", "mixture"])
def test_policies_stay_in_bounds_and_follow_the_seed(policy):
    rollouts = RolloutsConfig(policy=policy, seq_len=400)
    plans = [plan_actions(SPACE, rollouts, seed, episode) for seed, episode in [(1, 0), (1, 0), (1, 1), (2, 0)]]
    assert all(p.shape == (400, 3) and p.dtype == np.float32 for p in plans)
    assert all((p >= SPACE.low).all() and (p <= SPACE.high).all() for p in plans)
    assert np.array_equal(plans[0], plans[1])
    assert not np.array_equal(plans[0], plans[2]) and not np.array_equal(plans[0], plans[3])


def smoothness(policy: str) -> float:
    """Correlation of steering from one step to the next."""
    steering = np.concatenate([plan_actions(SPACE, RolloutsConfig(policy=policy), 1, e)[:, 0] for e in range(8)])
    return float(np.corrcoef(steering[:-1], steering[1:])[0, 1])


def test_smooth_policies_are_smooth_and_random_is_not():
    assert abs(smoothness("random")) < 0.1
    assert smoothness("brownian") > 0.8 and smoothness("ou") > 0.8


def test_ou_gives_gas_and_little_brake():
    actions = np.concatenate([plan_actions(SPACE, RolloutsConfig(policy="ou"), 1, e) for e in range(20)])
    assert abs(actions[:, 0].mean()) < 0.1
    assert actions[:, 1].mean() > 0.25 > 0.1 > actions[:, 2].mean()


def test_the_mixture_mixes():
    rollouts = RolloutsConfig(mixture={"random": 1, "ou": 1}, seq_len=200)
    jumps = [np.abs(np.diff(plan_actions(SPACE, rollouts, 1, e)[:, 0])).mean() for e in range(40)]
    assert 10 <= sum(jump > 0.4 for jump in jumps) <= 30


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"policy": "mixture", "mixture": {"uo": 1.0}},
            "rollouts.mixture: expected positive, finite weights of random",
        ),
        ({"policy": "mixture", "mixture": {}}, "rollouts.mixture: expected positive, finite weights"),
        ({"policy": "ou", "ou_mean": [0.0]}, "rollouts.ou_mean: expected 3 numbers, one an action, or none, found 1"),
    ],
)
def test_wrong_policies_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        plan_actions(SPACE, RolloutsConfig(**changes), 1, 0)


def test_an_agent_that_drives_is_the_agent_and_its_steps_are_counted(tiny_run, tmp_path):
    """Clean of noise, an episode is what the agent itself plays; however it was sharded."""
    more = ["--policy", "agent", "--agent", tiny_run, "--seq-len", 30, "--gymnasium-share", 1, "--num-rollouts", 2]
    for folder, size, noise in (("one", 2, 0), ("two", 1, 0), ("noisy", 2, 1)):
        flags = ["--data-dir", tmp_path / folder, "--shard-size", size, "--agent-noise", noise]
        run_script("collect_agent_rollouts", *flags, *more, "--threads", 2)
    one, two, noisy = (sorted((tmp_path / folder).glob("*.npz")) for folder in ("one", "two", "noisy"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    world, (controller, saved) = load_world_model(str(tiny_run), CPU), load_controller(tiny_run / "ctrl/best.tar")
    squash = Squash(saved["config"]["squash"], SPACE, CPU)
    seen = read_rollout(one[0])
    seed = int(np.load(one[0])["seed"])
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
    assert count_steps([str(path) for path in one]) == 60 + cost


def test_an_agent_is_asked_for():
    with pytest.raises(UserError, match=r"rollouts\.agent: expected the logdir of an earlier run"):
        make_driver(SPACE, RolloutsConfig(policy="agent"), 1, 0, None)
    with pytest.raises(UserError, match=r"rollouts\.agent: expected the logdir of an earlier run"):
        load({"rollouts": {"mixture": {"ou": 1, "agent": 1}}})


def test_gymnasium_share():
    assert sum(in_gymnasium(e, 0.125) for e in range(128)) == 16
    assert not any(in_gymnasium(e, 0.0) for e in range(100))
    assert all(in_gymnasium(e, 1.0) for e in range(100))


def test_resize_is_pillows():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    pillow = [np.asarray(Image.fromarray(f).resize((64, 64), Image.Resampling.BILINEAR)) for f in frames]
    assert np.abs(resize_frames(frames, 64, 64).astype(int) - np.stack(pillow)).max() <= 1
    assert np.array_equal(resize_frames(frames, 96, 96), frames)
    assert resize_frames(frames[..., :1], 64, 64).shape == (3, 64, 64, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lane_does_not_depend_on_its_neighbours(backend):
    """The same seed in another lane, among others, some of which have left: the same episode."""
    actions = plan_actions(SPACE, RolloutsConfig(policy="ou"), 1, 0)
    one, many = make_lanes(EnvConfig(), backend, [7]), make_lanes(EnvConfig(), backend, [5, 6, 7, 8], threads=2)
    assert np.array_equal(one.reset()[0], many.reset()[2])
    alive = np.arange(4)
    for t in range(60):
        if t == 20:
            alive = np.array([0, 2])
        single = one.step(np.array([0]), actions[t : t + 1])
        several = many.step(alive, np.repeat(actions[t : t + 1], len(alive), axis=0))
        lane = list(alive).index(2)
        assert all(np.array_equal(a[0], b[lane]) for a, b in zip(single, several))
        assert several[0].shape == (len(alive), 64, 64, 3)
    one.close()
    many.close()


def test_both_backends_show_the_same_kind_of_picture():
    if not HAS_ENVPOOL:
        assert choose_backend(EnvConfig()) == "gymnasium"
        return
    assert choose_backend(EnvConfig()) == "envpool"
    means = []
    for backend in BACKENDS:
        lanes = make_lanes(EnvConfig(), backend, [1, 2, 3])
        lanes.reset()
        for _ in range(50):  # past the zoom at the start
            frames = lanes.step(np.arange(3), np.zeros((3, 3), np.float32))[0]
        means.append(frames.reshape(-1, 3).mean(axis=0))
        lanes.close()
    assert np.abs(means[0] - means[1]).max() < 12


def test_backends_that_cannot_be_are_named(monkeypatch):
    with pytest.raises(UserError, match=r"env.id: expected an environment that can be made, found 'NoSuch-v0'"):
        make_lanes(EnvConfig(id="NoSuch-v0"), "gymnasium", [1])
    if HAS_ENVPOOL:
        with pytest.raises(UserError, match="knows and shows as images, found NoSuch-v0"):
            choose_backend(EnvConfig(id="NoSuch-v0", backend="envpool"))
        assert choose_backend(EnvConfig(id="Pendulum-v1")) == "gymnasium"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_backend(EnvConfig()) == "gymnasium"
    with pytest.raises(UserError, match=r"env.backend: expected EnvPool to be installed"):
        choose_backend(EnvConfig(backend="envpool"))


def test_tracks_of_different_purposes_never_meet():
    drawn = {
        purpose: {seeding.track_seed(s, purpose, g, i) for s in range(3) for g in range(30) for i in range(30)}
        for purpose in ("rollouts", "training", "validation")
    }
    drawn["evaluation"] = set(seeding.evaluation_seeds(1000))
    everything = [seed for seeds in drawn.values() for seed in seeds]
    assert len(everything) == len(set(everything))
    assert all(0 <= seed < 2**31 for seed in everything)
    assert seeding.evaluation_seeds(3) == seeding.evaluation_seeds(5)[:3]
