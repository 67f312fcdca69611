"""A user's own modules are found in the working directory, and uncovered code is named."""

import logging
import shutil
import sys

import gymnasium as gym
import pytest

from helpers.programs import ROOT
from worldmodels.envs.making import make_gymnasium
from worldmodels.runtime import user_modules
from worldmodels.runtime.config import EnvConfig, WMVAEConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.user_modules import load_module


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with my_env.py and games/my_env.py; what a test imports from it is forgotten after it."""
    (tmp_path / "games").mkdir()
    for path in (tmp_path / "my_env.py", tmp_path / "games/my_env.py"):
        shutil.copy(ROOT / "tests/samples/own/my_env.py", path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("LOADED_MODULES", "CHECKED_FILES"):
        monkeypatch.setattr(user_modules, name, set())
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    gym.registry.pop("Ball-v0", None)


@pytest.mark.parametrize("module", ["my_env", "games.my_env"])
def test_module_before_the_colon_is_found_in_the_working_directory(module, folder):
    env = make_gymnasium(EnvConfig(id=f"{module}:Ball-v0"))
    assert type(env.unwrapped).__name__ == "Ball" and type(env.unwrapped).__module__ == module


def test_missing_module_before_the_colon_raises(folder):
    with pytest.raises(UserError, match=r"env.id: expected a module to import, found 'my_envs' \(ModuleNotFoundError"):
        make_gymnasium(EnvConfig(id="my_envs:Ball-v0"))


def test_both_modules_of_an_environment_are_imported(folder):
    (folder / "more.py").write_text("")
    make_gymnasium(EnvConfig(id="my_env:Ball-v0", import_="more"))
    assert {"more", "my_env"} <= set(sys.modules)


def test_modules_lists_every_module_of_a_section():
    assert EnvConfig().modules == WMVAEConfig().modules == {}
    both = EnvConfig(id="a.b:Ball-v0", import_="c")
    assert both.modules == {"env.import": "c", "env.id": "a.b"}
    assert WMVAEConfig(model="a:B").modules == {"vae.model": "a:B"}


@pytest.mark.parametrize("text, uncounted", [("import seen", ""), ("__import__('hid' + 'den')", "hidden.py")])
def test_code_that_no_fingerprint_covers_is_warned_of(text, uncounted, folder, caplog):
    (folder / "seen.py").write_text("")
    (folder / "hidden.py").write_text("")
    (folder / "whole.py").write_text(text)
    with caplog.at_level(logging.WARNING, "worldmodels"):
        load_module("whole")
    messages = [record.getMessage() for record in caplog.records]
    expected = [f"{folder / uncounted} runs, but an edit of it makes nothing run again; name its module in env.import"]
    assert messages == (expected if uncounted else [])


def test_environment_of_an_unnamed_module_is_warned_of(folder, caplog):
    """As one that a plug-in of Gymnasium's has registered."""
    sys.path.append(str(folder))
    import my_env  # noqa: F401

    for _ in range(2):
        make_gymnasium(EnvConfig(id="Ball-v0"))
    assert [record.getMessage().split(" runs")[0] for record in caplog.records] == [str(folder / "my_env.py")]


def test_module_that_an_environment_imports_at_its_start_is_warned_of(folder, caplog):
    (folder / "hidden.py").write_text("")
    with open(folder / "my_env.py", "a") as file:
        file.write("\n\nBall.__init__ = lambda self: __import__('hid' + 'den') and None\n")
    make_gymnasium(EnvConfig(id="my_env:Ball-v0"))
    assert [record.getMessage().split(" runs")[0] for record in caplog.records] == [str(folder / "hidden.py")]
