"""What a user's own environment may give is taken, and what it may not is refused in one line."""

import dataclasses
import logging
import pickle
import random
import shlex

import gymnasium as gym
import numpy as np
import pytest
import torch

from helpers.environments import dot
from helpers.models import untrained_world
from worldmodels.data.collection import collect_from_args, collect_shard
from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import GymnasiumLanes, make_lanes
from worldmodels.envs.making import make_gymnasium
from worldmodels.playing.agent import Squash, WorldModel
from worldmodels.runtime import preflight
from worldmodels.runtime.config import EnvConfig, RolloutsConfig, WMControllerConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import role_flags
from worldmodels.runtime.program import make_parser
from worldmodels.search.environment_player import EnvironmentPlayer
from worldmodels.storage.files import read_json


def play(env: EnvConfig, steps: int = 3) -> list[np.ndarray]:
    lanes = make_lanes(env, "gymnasium", [5])
    frames = [lanes.reset()]
    frames += [lanes.step(np.array([0]), np.array([[0.0, 0.0, 1.0]], np.float32))[0] for _ in range(steps)]
    lanes.close()
    return frames


@pytest.mark.parametrize(
    "render",
    [
        "value / 255", "value.astype(np.float32) / 255", "value.astype(np.int64)", "value.astype(np.float64)",
        "[value]",
        "np.concatenate([value, np.full((32, 32, 1), 255, np.uint8)], -1)",
    ],
)  # fmt: skip
def test_pictures_of_other_types_are_converted(dots, render):
    for plain, converted in zip(play(dot()), play(dot(render=render))):
        assert np.array_equal(plain, converted)


def test_booleans_are_black_and_white(dots):
    assert np.unique(play(dot(render="value > 0"))[0]).tolist() == [0, 255]


@pytest.mark.parametrize(
    "render, found",
    [
        ("None", "found None"),
        ("value.transpose(2, 0, 1)", r"found an array of shape \(3, 32, 32\) and type uint8, channels first"),
        ("value[None]", r"found an array of shape \(1, 32, 32, 3\)"),
        ("[value, value]", "found a list of 2"),
        ("value / np.nan", "found an array of shape"),
        ("value.astype(int) - 9", "values from -9 to 246"),
        ("value.astype(float) * 2", "expected floats from 0 to 255, .* values from 0 to 510"),
        ("(value + 1).astype(str)", "found an array of shape"),
    ],
)
def test_pictures_that_are_none_are_refused_in_one_line(dots, render, found):
    with pytest.raises(
        UserError, match=rf"env.id: expected .* render\(\) of Dot-v0 at reset with seed 5, .*{found}|{found}"
    ):
        play(dot(render=render))


def test_pictures_of_another_size_are_refused_with_the_step(dots):
    message = (
        r"shape \(32, 32, 3\), as of the first one, from render\(\) of Dot-v0 at step 2 of the episode with seed 5, f"
    )
    with pytest.raises(UserError, match=message):
        play(dot(render="value if self.t < 2 else value[:16]"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"step": "value[:4]"}, r"\(observation, reward, terminated, truncated, info\) from step\(\) of Dot-v0 at step "
                                r"1 of the episode with seed 5, found a tuple of 4"),
        ({"reset": "value[0]"}, r"\(observation, info\) from reset\(seed=...\) of Dot-v0 at reset with seed 5, f"),
        ({"reward": "None"}, r"a number as reward from step\(\) of Dot-v0 at step 1 .* found None"),
        ({"reward": "np.ones(2)"}, r"a number as reward .* found an array of shape \(2,\)"),
        ({"reward": "'1'"}, "a finite number as reward .* found '1'"),
        ({"reward": "np.nan if self.t == 2 else 0.0"}, "a finite number as reward .* at step 2 .* found nan"),
        ({"reward": "-np.inf"}, "a finite number as reward .* found -inf"),
        ({"reward": "1e300"}, "a finite number as reward .* found 1e[+]300"),
        ({"step": "(value[0], 0.0, None, False, {})"}, "True or False as terminated .* found None"),
        ({"step": "(value[0], 0.0, False, np.zeros(2, bool), {})"}, "True or False as truncated .* found an array"),
    ],
)  # fmt: skip
def test_answers_that_break_the_interface_are_refused_in_one_line(dots, changes, message):
    with pytest.raises(UserError, match=f"env.id: expected {message}") as raised:
        play(dot(**changes))
    assert "\n" not in str(raised.value)


def test_a_reset_without_seed_is_refused(dots):
    gym.register("NoSeed-v0", type("NoSeed", (dots.Dot,), {"reset": lambda self: ({}, {})}), max_episode_steps=9)
    with pytest.raises(UserError, match=r"from reset\(seed=...\) of NoSeed-v0 .* unexpected keyword argument 'seed'"):
        play(dot("NoSeed-v0"))
    gym.registry.pop("NoSeed-v0")


@pytest.mark.parametrize("reward", ["np.float32(0.5)", "np.array(0.5)", "np.array([0.5])", "True", "np.int64(1)"])
def test_rewards_of_any_numeric_type_are_taken(dots, reward):
    lanes = GymnasiumLanes(dot(reward=reward), [5])
    lanes.reset()
    assert lanes.step(np.array([0]), np.eye(3, dtype=np.float32)[:1])[1].tolist() in ([0.5], [1.0])


@pytest.mark.parametrize("where", ["init", "reset", "step", "render"])
@pytest.mark.parametrize(
    "statement, words",
    [
        ("raise RuntimeError('no answer\\nfrom the simulator')", "RuntimeError: no answer from the simulator"),
        ("raise ImportError", "ImportError"),
        ("raise SystemExit", "SystemExit"),
        ("raise KeyError('level')", "KeyError: 'level'"),
    ],
)
def test_what_an_environment_raises_names_it_in_one_line(dots, where, statement, words):
    with pytest.raises(UserError) as raised:
        play(dot(**{where: statement}))
    assert str(raised.value).startswith(f"env.id: the environment raised {words} (my_dots.py, line ")
    assert raised.value.__cause__ is not None and str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_an_error_in_close_hides_nothing(dots, caplog):
    with caplog.at_level(logging.INFO, "worldmodels"):
        assert len(play(dot(close="raise RuntimeError('late')"))) == 4
    assert "close() raised RuntimeError: late (my_dots.py, line" in caplog.text


@pytest.mark.parametrize(
    "text, words",
    [("import sys; sys.exit(3)", "SystemExit: 3"), ("\nopen('levels')", "FileNotFoundError.*broken_module.py, line 2")],
)
def test_a_module_that_fails_to_import_is_named_with_its_line(tmp_path, monkeypatch, text, words):
    (tmp_path / "broken_module.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=rf"env.import: expected a module to import, found 'broken_module' \({words}"):
        make_gymnasium(EnvConfig(import_="broken_module"))


def test_arguments_that_an_environment_does_not_take_are_named():
    with pytest.raises(
        UserError, match=r"env.kwargs: expected arguments .*'CarRacing-v3'.* found {'wheels': 5} \(.*whe"
    ):
        make_gymnasium(EnvConfig(kwargs={"wheels": 5}))
    with pytest.raises(UserError, match=r"env.id: the environment raised AssertionError: gravity"):
        make_gymnasium(EnvConfig(id="LunarLander-v3", kwargs={"gravity": 5.0}))


@pytest.mark.parametrize("name", ["ALE/Nowhere-v5", "Nowhere-v0"])
def test_an_unknown_id_hints_at_the_import(name, dots):
    with pytest.raises(
        UserError, match=r"env.id: expected an environment that can be made.*; env.import names the mod"
    ):
        make_gymnasium(EnvConfig(id=name))
    with pytest.raises(UserError, match="; my_dots was imported and does not register it"):
        make_gymnasium(EnvConfig(id=name, import_="my_dots"))


@pytest.mark.parametrize(
    "space, advice",
    [
        (gym.spaces.Box(0, 255, (3, 32, 32), np.uint8), "the channels come first: a wrapper"),
        (gym.spaces.Dict(image=gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)), "a wrapper of yours"),
    ],
)
def test_an_environment_without_pictures_is_told_what_was_found_and_what_would_do(space, advice, dots):
    blind = type("Blind", (dots.Dot,), {"observation_space": space, "metadata": {"render_modes": ["human"]}})
    gym.register("Blind-v0", blind, max_episode_steps=9)
    with pytest.raises(UserError) as raised:
        make_gymnasium(dot("Blind-v0"))
    assert f"found observations {space} and the render modes ['human'] in Blind-v0; {advice}" in str(raised.value)
    gym.registry.pop("Blind-v0")


def test_the_key_chooses_where_pictures_come_from(dots):
    board = {"reset": "(np.ones((8, 8), np.uint8), {})", "step": "(np.ones((8, 8), np.uint8), 0.0, False, False, {})"}
    shown = {frames: play(dataclasses.replace(dot("Board-v0", **board), frames=frames))[0].max()
             for frames in ("auto", "render", "observation")}  # fmt: skip
    assert shown == {"auto": 255, "render": 255, "observation": 1}  # its space says 0 to 2: codes
    with pytest.raises(
        UserError, match=r"env.frames: expected observations that are pictures, .*, found observations Bo"
    ):
        play(dataclasses.replace(dot(), frames="observation"))


@pytest.mark.parametrize("render, words", [("value // 255", "are nearly black: the brightest pixel is 1 of 255"),
                                           ("np.full_like(value, 99)", "never change within an episode")])  # fmt: skip
def test_pictures_that_show_nothing_are_told(dots, tmp_path, caplog, render, words):
    from worldmodels.data.collection import warn_about_pictures

    rollouts = RolloutsConfig(num_rollouts=2, shard_size=2, seq_len=9, env_name="Dot-v0")
    for env, text in ((dot(render=render), words), (dot(), "")):
        caplog.clear()
        summary = collect_shard(str(tmp_path / "data"), env, rollouts, 1, 0)
        warn_about_pictures(list(summary["episodes"].values()), env)
        assert text in caplog.text and bool(caplog.text) == bool(text)


@pytest.mark.parametrize(
    "changes, starts",
    [
        ({}, 1),
        ({"init": "self.world = type('b2World', (), {'__module__': 'Box2D'})()"}, 4),  # the first one plays, too
        ({"step": "setattr(self, 'last', self.t) or value"}, 1 + 4),  # the first one was tried
    ],
)
def test_the_rollouts_program_starts_no_environment_in_vain(dots, tmp_path, changes, starts):
    env, data = dataclasses.replace(dot(**changes), reuse="auto"), tmp_path / "data"
    flags = ["--num-rollouts", "4", "--shard-size", "4", "--seq-len", "9", "--shard", "0", "--data-dir", str(data)]
    parser = make_parser("", EnvConfig, RolloutsConfig)
    parser.add_argument("--controller")
    parser.add_argument("--shard", type=int)
    collect_from_args(parser.parse_args([*shlex.split(role_flags(env)), *flags]))
    assert len(dots.STARTS) == 1 + starts  # the very first one told that pictures have to be rendered
    assert set(map(id, dots.STARTS)) == set(map(id, dots.CLOSES))
    assert read_json(data / "00000.json")["action_space"]["env"] == preflight.env_stamp(env)


@pytest.fixture(scope="module")
def world() -> WorldModel:
    return untrained_world(size=32)


def evaluate(world: WorldModel, env: EnvConfig, pieces: int = 1) -> list[bytes]:
    """Returns and lengths of five controllers, whose episodes end at different steps, piece after piece."""
    torch.set_num_threads(1)
    instances = Instances(env)
    squash = Squash([], instances.space, world.device)
    config = WMControllerConfig(env_name=env.id, stall_limit=0)
    player = EnvironmentPlayer(world, env, "gymnasium", config, squash, instances=instances)
    parameters = np.random.default_rng(1).normal(size=(5, 3 * 25))
    results = []
    for _ in range(pieces):
        results.append(b"".join(part.tobytes() for part in player.evaluate(parameters, [3, 4, 5, 6, 7])))
    most = len(instances.members)
    instances.close()
    assert most <= (env.instances or 5)
    return results


def test_results_do_not_depend_on_the_number_of_instances(dots, world):
    """To the last bit: the rewards are the actions, which V, M and C give in batches of which other lanes are part."""
    env = dot("Slider-v0", step="value[:2] + (self.t > self.x // 4,) + value[3:]", reward="self.given")
    results = {n: evaluate(world, dataclasses.replace(env, instances=n), 2) for n in (0, 1, 3)}
    first = results[0][0]
    assert all(result == first for several in results.values() for result in several)
    assert len(set(np.frombuffer(first[40:], np.int64))) > 1, "episodes should end at different steps"


def test_lanes_are_made_once_and_reset(dots, world):
    evaluate(world, dot(step="value[:2] + (self.t > 2,) + value[3:]"), 3)
    assert len(dots.STARTS) == 1 + 5  # the first one told that pictures have to be rendered


def test_no_environment_is_closed_while_another_plays(dots, world):
    """close() may shut down a library that all share, as pygame.quit() does."""
    for reuse in ("always", "never"):
        dots.STARTS.clear(), dots.CLOSES.clear()
        env = dataclasses.replace(dot(), reuse=reuse)
        lanes = GymnasiumLanes(env, [1, 2, 3])
        lanes.reset()
        begun = len(dots.CLOSES)
        for _ in range(4):
            lanes.step(np.arange(3), np.eye(3, dtype=np.float32))
        assert len(dots.CLOSES) == begun
        lanes.reset()
        assert len(dots.STARTS) == (1 + 3 if reuse == "always" else 1 + 3 + 3)
        lanes.close()


def test_what_box2d_keeps_of_an_episode_does_not_reach_the_next():
    """BipedalWalker's world orders contacts by what was there before: a used one goes another way than a new one."""

    def returns(seeds: list[int], reuse: str = "auto") -> dict[int, float]:
        env = EnvConfig(id="BipedalWalker-v3", reuse=reuse)
        instances, plan, totals = Instances(env), np.random.default_rng(1).uniform(-1, 1, (90, 4)), {}
        for seed in seeds:
            instance = instances.take(1)[0]
            instance.pictures.read = lambda value: np.zeros((4, 4, 3), np.uint8)  # unseen here
            instance.env.unwrapped.render = lambda: None
            instance.reset(seed)
            total, over = 0.0, False
            for action in np.repeat(plan.astype(np.float32), 2, axis=0):
                if not over:
                    _, reward, *ends = instance.step(action)
                    total, over = total + reward, any(ends)
            totals[seed] = total
        instances.close()
        return totals

    assert returns([3, 4, 5]) == returns([5, 4, 3])
    assert returns([3, 4, 5], "always") != returns([5, 4, 3], "always"), "reset(seed) is enough by now"


@pytest.mark.parametrize(
    "keeps, expected",
    [
        ("", "always"),
        ("setattr(self, 'last', self.t) or value", "never"),
        ("setattr(np, 'kept', 1) or value", "never"),
        ("setattr(self, 'cache', {'board': [np.ones(3)]}) or value", "always"),
    ],
)
def test_an_environment_that_remembers_is_made_for_each_episode(dots, caplog, keeps, expected):
    """In a part of its own, as MinAtar's last action is, or out of sight, where only the next episode shows it."""
    changes = {"step": keeps} if keeps else {}
    if "kept" in keeps:
        changes["render"] = "value + np.uint8(getattr(np, 'kept', 0) * (self.t == 0))"
    with caplog.at_level(logging.INFO, "worldmodels"):
        instances = Instances(dataclasses.replace(dot(**changes), reuse="auto"))
        instances.take(1)
    assert instances.config.reuse == expected
    assert ("a reset does not forget all: " in caplog.text) == (expected == "never")
    instances.close()
    vars(np).pop("kept", None)


@pytest.mark.parametrize(
    "value, words",
    [
        ("torch.full((2,), number, dtype=torch.bfloat16)", ".kept"),
        ("torch.full((2,), number).to_sparse()", ""),  # Python cannot look into it
        ("type('Loud', (), {'__repr__': lambda self: 1 / 0})()", ""),
        ("{type('Loud', (), {'__repr__': lambda self: 1 / 0})(): number}", ""),
        ("type('Closed', (dict,), {'items': lambda self: 1 / 0})(a=number)", ""),
        ("type('Dark', (), {'__getattribute__': lambda self, name: 1 / 0})()", ""),
        ("{number, 'a'}", ".kept"),
        ("random.Random(number)", ".kept"),
        ("[np.full(3, number), None]", ".kept[0]"),
    ],
)
def test_parts_of_any_kind_are_looked_at_or_passed(dots, caplog, value, words):
    """Each is kept from one episode to the next, with another number."""
    names, step = {"torch": torch, "np": np, "random": random}, dots.Dot.step

    def remember(self, action):
        self.kept = eval(value, {**names, "number": self.t})
        return step(self, action)

    dots.Dot.step = remember
    instances = Instances(dataclasses.replace(dot(), reuse="auto"))
    with caplog.at_level(logging.INFO, "worldmodels"):
        instances.settle_reuse()
    assert instances.config.reuse == ("never" if words else "always")
    assert caplog.text.strip().endswith(words)
    instances.close()


def test_another_instance_that_cannot_be_made_hints_at_the_limit(dots):
    env = dot(init="if len(STARTS) - len(CLOSES) > 1: raise OSError('the port is taken')")
    with pytest.raises(
        UserError, match=r"OSError: the port is taken .*; 1 play in this process already: env.instances"
    ):
        GymnasiumLanes(env, [1, 2]).reset()


def test_episodes_wait_where_another_instance_cannot_be_made(dots, caplog):
    env = dot(init="if len(STARTS) - len(CLOSES) > 1: raise OSError('the port is taken')")
    lanes = GymnasiumLanes(env, [1, 2, 3])
    with caplog.at_level(logging.WARNING):
        assert [group.tolist() for group in lanes.prepare_groups()] == [[0], [1], [2]]
    assert "the port is taken" in caplog.text and "wait for their turn" in caplog.text
    for group in lanes.prepare_groups():
        assert len(lanes.reset(group)) == 1
        lanes.step(group, np.zeros((1, lanes.codec.size), np.float32))
