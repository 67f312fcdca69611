"""Episodes of other programs become rollout files, and what cannot be used is told in one line."""

import gymnasium as gym
import numpy as np
import pytest

from helpers.environments import SPACE
from worldmodels.data.episodes import read_rollout
from worldmodels.data.importing import import_shard
from worldmodels.envs.actions import ActionCodec
from worldmodels.envs.frames import frames_for_v
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.sources import find_source
from worldmodels.storage.files import read_json

STEPS, SIZE = 12, 96
RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (STEPS, SIZE, SIZE, 3)).astype(np.uint8)
ACTIONS = RNG.random((STEPS, 3))
REWARDS = RNG.random(STEPS)
ENDS = np.arange(STEPS) == STEPS - 1
EPISODE = {"observations": FRAMES, "actions": ACTIONS, "rewards": REWARDS, "terminals": ENDS}


def bring(folder, *episodes: dict, space=SPACE, env=None, **rollouts) -> list[dict]:
    """Import episodes that another program has written to folder/theirs; the arrays of the rollout files."""
    theirs, ours = folder / "theirs", folder / "ours"
    theirs.mkdir(exist_ok=True)
    for number, arrays in enumerate(episodes):
        np.savez(theirs / f"rollout_{number}.npz", **arrays)
    source = find_source(str(theirs))
    config = RolloutsConfig(num_rollouts=source.episodes, **rollouts)
    import_shard(str(ours), env or EnvConfig(), config, source, 0, ActionCodec(space))
    return [read_rollout(path) for path in sorted(ours.glob("*.npz"))]


def changed(**changes) -> dict:
    return {key: value for key, value in (EPISODE | changes).items() if value is not None}


def renamed(*names: str) -> dict:
    return dict(zip(names, EPISODE.values()))


def test_frames_are_resized_as_those_of_the_environment_and_numbers_become_float32(tmp_path):
    (episode,) = bring(tmp_path, EPISODE)
    np.testing.assert_array_equal(episode["observations"], frames_for_v(FRAMES, EnvConfig()))
    for key in ("actions", "rewards", "terminals"):
        assert episode[key].dtype == np.float32
        np.testing.assert_array_equal(episode[key], EPISODE[key].astype(np.float32))
    summary = read_json(tmp_path / "ours/00000.json")
    assert summary["action_space"]["size"] == 3
    (line,) = summary["episodes"].values()
    assert (line["steps"], line["source"]) == (STEPS, "rollout_0.npz")


@pytest.mark.parametrize(
    "arrays",
    [
        renamed("observations", "actions", "rewards", "terminals"),
        renamed("obs", "action", "reward", "done"),
        renamed("image", "act", "rew", "is_terminal"),
        renamed("frames", "actions", "rewards", "dones") | {"seed": np.int64(3), "truncations": ENDS},
        changed(terminals=ENDS.astype(np.float64), rewards=REWARDS[:, None]),
        changed(actions=np.concatenate([ACTIONS, ACTIONS])),  # a plan that was not carried out to its end
        changed(observations=np.concatenate([FRAMES, FRAMES[:1]])),  # what the last action led to
        changed(observations=FRAMES / 255),
        changed(observations=FRAMES.astype(np.float32)),
        changed(observations=FRAMES.transpose(0, 3, 1, 2).astype(np.int64)),
    ],
)
def test_what_programs_write_is_understood(arrays, tmp_path):
    (episode,) = bring(tmp_path, arrays)
    np.testing.assert_array_equal(episode["observations"], frames_for_v(FRAMES, EnvConfig()))
    np.testing.assert_array_equal(episode["actions"], ACTIONS.astype(np.float32))
    np.testing.assert_array_equal(episode["rewards"], REWARDS.astype(np.float32))
    np.testing.assert_array_equal(episode["terminals"], ENDS)


def test_frames_and_actions_alone_get_rewards_and_terminals_of_0(tmp_path):
    (episode,) = bring(tmp_path, {"obs": FRAMES, "action": ACTIONS.astype(np.float16)})
    assert not episode["rewards"].any() and not episode["terminals"].any() and len(episode["rewards"]) == STEPS


def test_a_frame_after_its_action_moves_to_the_action_that_follows(tmp_path):
    (episode,) = bring(tmp_path, EPISODE, source_frames="after")
    np.testing.assert_array_equal(episode["observations"], frames_for_v(FRAMES[:-1], EnvConfig()))
    np.testing.assert_array_equal(episode["actions"], ACTIONS[1:].astype(np.float32))
    np.testing.assert_array_equal(episode["terminals"], ENDS[1:])


def test_long_episodes_are_cut_and_frames_of_v_are_not_cropped(tmp_path):
    small = frames_for_v(FRAMES, EnvConfig())
    (episode,) = bring(tmp_path, changed(observations=small), env=EnvConfig(crop=[9, 9, 9, 9]), seq_len=5)
    np.testing.assert_array_equal(episode["observations"], small[:5])
    assert not episode["terminals"].any()


def test_grey_frames(tmp_path):
    (episode,) = bring(tmp_path, changed(observations=FRAMES[..., 0]), env=EnvConfig(grey=True))
    assert episode["observations"].shape == (STEPS, 64, 64, 1)


CHOICES = np.arange(STEPS) % 3
ONE_HOT = np.eye(3)[CHOICES]


@pytest.mark.parametrize(
    "space, actions, expected",
    [
        (gym.spaces.Discrete(3), CHOICES, ONE_HOT),
        (gym.spaces.Discrete(3), CHOICES[:, None].astype(np.float64), ONE_HOT),
        (gym.spaces.Discrete(3), ONE_HOT, ONE_HOT),
        (gym.spaces.Discrete(3, start=5), CHOICES + 5, ONE_HOT),
        (gym.spaces.MultiBinary(2), np.tile([0, 1], (STEPS, 1)), np.tile([-1, 1], (STEPS, 1))),
        (gym.spaces.Box(-1, 1, (1,)), REWARDS, REWARDS[:, None]),
    ],
)
def test_actions_are_encoded(space, actions, expected, tmp_path):
    (episode,) = bring(tmp_path, changed(actions=actions), space=space)
    np.testing.assert_allclose(episode["actions"], expected, atol=1e-6)


@pytest.mark.parametrize(
    "arrays, message",
    [
        (changed(rewards=None), r"expected rewards under one of rewards, reward, rew, found observations, actions, te"),
        (changed(actions=None, act=ACTIONS, action=ACTIONS), "expected actions under a single name, found action and"),
        (changed(rewards=REWARDS[:-1]), "expected observations of 11 rows|expected terminals of 1 dimensions, 11 rows"),
        (changed(observations=FRAMES[:-1]), f"expected observations of {STEPS} rows, as many as rewards, found 11"),
        (changed(actions=ACTIONS[:, :2]), r"expected actions of Box.*or of 3 numbers per row, found shape \(12, 2\)"),
        (changed(actions=np.array(["left"] * STEPS)), "expected finite numbers as actions, found type <U4"),
        (changed(observations=FRAMES[:, 0]), r"env.grey: true, found grey ones"),
        (changed(observations=FRAMES[0]), r"expected observations of 12 rows"),
        (changed(observations=FRAMES / 100), r"expected observations \(T, H, W, 3\).*found shape .* and type float64"),
        (changed(observations=FRAMES[..., 0]), r"or env.grey: true, found grey ones \(12, 96, 96\)"),
        (changed(rewards=REWARDS * np.nan), "expected finite rewards, found NaN or infinity"),
        (changed(terminals=REWARDS), "expected terminals of 0 and 1, found"),
        (changed(terminals=np.arange(STEPS) == 3), "with a terminal in its last row alone, found one in row 3"),
        (changed(rewards=np.array([None] * STEPS)), "expected an .npz file of plain arrays"),
        ({key: value[:0] for key, value in EPISODE.items()}, "expected"),
    ],
)
def test_what_cannot_be_used_is_told_and_nothing_is_written(arrays, message, tmp_path):
    with pytest.raises(UserError, match=f"theirs/rollout_0.npz: .*(?:{message})"):
        bring(tmp_path, arrays, EPISODE)
    assert not (tmp_path / "ours").exists()


def test_actions_out_of_the_choices(tmp_path):
    with pytest.raises(UserError, match=r"expected actions of Discrete\(2\).*with values from 0 to 2"):
        bring(tmp_path, changed(actions=CHOICES), space=gym.spaces.Discrete(2))


def test_each_file_that_cannot_be_used_has_a_line(tmp_path, caplog):
    with pytest.raises(UserError, match="expected 3 episodes that can be used, found 2 that cannot, such as"):
        bring(tmp_path, changed(rewards=None), EPISODE, changed(actions=ACTIONS[:, :1]))
    assert ["rollout_0.npz: expected" in caplog.messages[0], "rollout_2.npz: expected" in caplog.messages[1]] == [
        True
    ] * 2


def test_a_damaged_file(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/a.npz").write_bytes(b"PK no zip")
    with pytest.raises(UserError, match=r"a\.npz: expected an .npz file of plain arrays, found a damaged one"):
        bring(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Minari wants to know the author.
@pytest.mark.parametrize("jpeg", [False, True])
def test_a_minari_dataset_of_a_local_folder(jpeg, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    smooth = np.add.outer(np.arange(STEPS + 1), np.add.outer(np.arange(SIZE), np.arange(SIZE))).astype(np.uint8)
    frames = np.stack([smooth // 2] * 3, axis=-1)
    episode = {
        "observations": {"picture": list(frames), "speed": list(np.zeros((STEPS + 1, 2), np.float32))},
        "actions": list(ACTIONS.astype(np.float32)), "rewards": REWARDS.tolist(), "terminations": ENDS.tolist(),
        "truncations": [False] * STEPS,
    }  # fmt: skip
    buffers = [minari.data_collector.EpisodeBuffer(id=number, infos={}, **episode) for number in range(2)]
    spaces = {
        "picture": gym.spaces.Box(0, 255, frames.shape[1:], np.uint8), "speed": gym.spaces.Box(-1, 1, (2,), np.float32),
    }  # fmt: skip
    minari.create_dataset_from_buffers(
        "mine/car-v0", buffers, observation_space=gym.spaces.Dict(spaces), action_space=SPACE, jpeg_encoding=jpeg
    )
    source = find_source(str(tmp_path / "sets/mine/car-v0"))
    assert source.is_minari and source.episodes == 2
    import_shard(str(tmp_path / "ours"), EnvConfig(), RolloutsConfig(num_rollouts=2), source, 0, ActionCodec(SPACE))
    for path in sorted((tmp_path / "ours").glob("*.npz")):
        imported = read_rollout(path)
        expected = frames_for_v(frames[:-1], EnvConfig())
        np.testing.assert_allclose(imported["observations"].astype(int), expected.astype(int), atol=20 if jpeg else 0)
        np.testing.assert_array_equal(imported["actions"], ACTIONS.astype(np.float32))
        np.testing.assert_array_equal(imported["terminals"], ENDS)
