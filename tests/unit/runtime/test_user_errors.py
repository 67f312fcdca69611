"""An error of a user's code becomes one line that names the place."""

import os
import sysconfig

import pytest
import torch

from helpers.programs import ROOT
from worldmodels.runtime import interrupts
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.user_errors import describe_error, user_code


@pytest.mark.parametrize("folder", [ROOT / "scripts", sysconfig.get_path("stdlib")])
def test_error_names_the_users_module_whatever_its_folder_is_called(folder):
    """Also beside the project's scripts and beside Python's own modules, where the paths begin in the same way."""
    path, scope = f"{folder}_mine/dot.py", {}
    exec(compile("def step(): 1 / 0", path, "exec"), scope)
    with pytest.raises(ZeroDivisionError) as raised:
        scope["step"]()
    place = path.removeprefix(f"{os.getcwd()}/")
    assert describe_error(raised.value) == f"ZeroDivisionError: division by zero ({place}, line 1)"


def test_signals_pass_through_user_code():
    for error in (interrupts.Interrupted(15), KeyboardInterrupt()):
        with pytest.raises(type(error)), user_code("env.id: the environment"):
            raise error


def test_out_of_memory_passes_through_user_code():
    with pytest.raises(torch.OutOfMemoryError), user_code("vae.model: mine"):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_rendering_without_a_display_suggests_mujoco_gl(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    with pytest.raises(UserError, match="MUJOCO_GL=egl"), user_code("env.id: the environment"):
        raise RuntimeError("gladLoadGL error")
