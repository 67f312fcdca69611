"""Lanes give the right frames, frame skip and limits, with both backends."""

import dataclasses
import importlib.util
import logging

import numpy as np
import pytest
from PIL import Image

from helpers.environments import SPACE, arena
from worldmodels.data.policies import plan_actions
from worldmodels.envs.backends import choose_backend, log_backend
from worldmodels.envs.frames import frames_for_v, resize_frames
from worldmodels.envs.instances import action_space
from worldmodels.envs.lanes import make_lanes
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.errors import UserError


@pytest.mark.parametrize("env", [arena(grey=True), arena("box", grey=True, height=32), EnvConfig(grey=True)], ids=str)
def test_grey_frames_have_one_channel(env):
    lanes = make_lanes(env, choose_backend(env), [1, 2])
    frames = lanes.reset()
    lanes.close()
    assert frames.shape == (2, env.height, env.width, 1) and frames.max() > 0


def test_grey_is_luminance():
    frames = np.full((1, 64, 64, 3), (200, 100, 50), np.uint8)
    assert np.unique(frames_for_v(frames, EnvConfig(grey=True))).tolist() == [
        round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    ]


def test_crop_cuts_rows_and_columns_before_resizing():
    frames = np.arange(100 * 80 * 3, dtype=np.uint32).reshape(1, 100, 80, 3).astype(np.uint8)
    part = frames_for_v(frames, EnvConfig(crop=[20, 16, 10, 6], height=64, width=64))
    assert (part == frames[:, 20:84, 10:74]).all()
    assert (frames_for_v(frames, EnvConfig(crop=[0, 0, 0, 0])) == frames_for_v(frames, EnvConfig())).all()
    for crop in ([60, 40, 0, 0], [0, 0, 90, 0]):
        with pytest.raises(UserError, match=r"env.crop: expected to leave pixels of pictures of 100 x 80, found \["):
            frames_for_v(frames, EnvConfig(crop=crop))


def test_grey_observations_have_one_channel_without_an_option():
    env = EnvConfig(id="Arena-v0", import_="arena", kwargs={"colour": False})
    assert make_lanes(env, "gymnasium", [1]).reset().shape == (1, 64, 64, 1)


@pytest.mark.parametrize("env, size", [(arena("box"), 2), (EnvConfig(), 3)], ids=["gymnasium", "the backend for cars"])
def test_an_action_lasts_frame_skip_steps(env, size):
    """Rewards add up, the episode is as long, and the last frame is the same as of single steps."""
    action = np.full((1, size), 0.1, np.float32)
    backend = choose_backend(env)
    single, skipping = (make_lanes(dataclasses.replace(env, frame_skip=skip), backend, [5]) for skip in (1, 4))
    single.reset(), skipping.reset()
    first = np.array([0])
    for _ in range(3):
        parts = [single.step(first, action) for _ in range(4)]
        frames, rewards, *_ = skipping.step(first, action)
        np.testing.assert_allclose(rewards, sum(part[1] for part in parts), rtol=1e-5)
        assert np.array_equal(frames, parts[-1][0])
    assert single.time_limit == 4 * skipping.time_limit or single.time_limit == 30
    single.close(), skipping.close()


def test_max_episode_steps_ends_an_episode():
    env = arena("box", max_episode_steps=3, frame_skip=2)
    lanes = make_lanes(env, "gymnasium", [1])
    lanes.reset()
    ends = [lanes.step(np.array([0]), np.zeros((1, 2), np.float32))[3][0] for _ in range(2)]
    assert ends == [False, True] and lanes.time_limit == 2


@pytest.mark.parametrize(
    "env, message",
    [
        (EnvConfig(id="Endless-v0", import_="arena"), "env.max_episode_steps: expected a number, since Endless-v0"),
        (EnvConfig(import_="no_such_package"), "env.import: expected a module to import, found 'no_such_"),
        (EnvConfig(id="Blackjack-v1"), "env.max_episode_steps: expected a number"),
        (EnvConfig(id="Acrobot-v1", kwargs={"render_mode": "rgb_array_list"}), ""),
    ],
)  # fmt: skip
def test_unusable_environment_raises(env, message):
    if not message:  # another way of rendering is replaced
        assert make_lanes(env, "gymnasium", [1]).reset().shape == (1, 64, 64, 3)
        return
    with pytest.raises(UserError, match=message):
        action_space(env)


HAS_ENVPOOL = importlib.util.find_spec("envpool") is not None
BACKENDS = ["gymnasium", *(["envpool"] if HAS_ENVPOOL else [])]


def test_resize_equals_pillow():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    pillow = [np.asarray(Image.fromarray(f).resize((64, 64), Image.Resampling.BILINEAR)) for f in frames]
    assert np.abs(resize_frames(frames, 64, 64).astype(int) - np.stack(pillow)).max() <= 1
    assert np.array_equal(resize_frames(frames, 96, 96), frames)
    assert resize_frames(frames[..., :1], 64, 64).shape == (3, 64, 64, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_lane_does_not_depend_on_its_neighbors(backend):
    """The same seed in another lane, among others, some of which have left: the same episode."""
    actions = plan_actions(SPACE, RolloutsConfig(policy="ou"), 1, 0)
    first, many = make_lanes(EnvConfig(), backend, [7]), make_lanes(EnvConfig(), backend, [5, 6, 7, 8], threads=2)
    assert np.array_equal(first.reset()[0], many.reset()[2])
    alive = np.arange(4)
    for t in range(60):
        if t == 20:
            alive = np.array([0, 2])
        single = first.step(np.array([0]), actions[t : t + 1])
        several = many.step(alive, np.repeat(actions[t : t + 1], len(alive), axis=0))
        lane = list(alive).index(2)
        assert all(np.array_equal(a[0], b[lane]) for a, b in zip(single, several))
        assert several[0].shape == (len(alive), 64, 64, 3)
    first.close()
    many.close()


def test_backends_render_similar_pictures():
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


def test_unknown_backend_raises(monkeypatch):
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


@pytest.mark.parametrize(
    "changes", [{"import_": "my_dots"}, {"kwargs": {"domain_randomize": True}}, {"frames": "render"}]
)
def test_gymnasium_is_chosen_where_envpool_lacks_an_option(dots, caplog, changes):
    pytest.importorskip("envpool")
    env = EnvConfig(**changes)
    assert choose_backend(EnvConfig()) == "envpool" and choose_backend(env) == "gymnasium"
    with caplog.at_level(logging.INFO, "worldmodels"):
        log_backend(EnvConfig())
        assert not caplog.text
        log_backend(env)
    assert "env.backend: gymnasium, since EnvPool knows CarRacing-v3 but not env." in caplog.text


def test_envpool_beside_an_import_is_warned_of(dots, caplog):
    pytest.importorskip("envpool")
    env = EnvConfig(import_="my_dots", backend="envpool")
    assert choose_backend(env) == "envpool"
    log_backend(env)
    assert "EnvPool plays its own CarRacing-v3, whatever my_dots registers" in caplog.text
