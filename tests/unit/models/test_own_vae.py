"""A user's own class works as V, and an unusable one raises."""

import shutil
import sys

import pytest
import torch

from helpers.programs import ROOT
from worldmodels.envs.making import make_gymnasium
from worldmodels.models.vae import VAE, make_vae
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.user_network import user_network_code
from worldmodels.training.vae import VAELearner

CPU = torch.device("cpu")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    shutil.copy(ROOT / "tests/samples/own/mine_vae.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "mine_vae.py"


def test_own_class_is_used_as_vae(mine):
    vae = make_vae("mine_vae:Flat", 3, 5, 20, 30)
    assert isinstance(vae, VAE) and vae(torch.rand(2, 3, 20, 30))[0].shape == (2, 3, 20, 30)


@pytest.mark.parametrize(
    "model, message",
    [
        ("mine_vae:Wrong", r"expected decoder of mine_vae:Wrong shaped \(2, 3, 20, 30\), found \(2, 3\)"),
        ("mine_vae:Broken", r"mine_vae:Broken, given images shaped \(2, 3, 20, 30\), raised RuntimeError: mat1"),
        ("mine_vae:Foreign", "expected ConvVAE or module:Class, a class made of worldmodels.models.vae.VAE"),
        ("mine_vae:None", "expected ConvVAE or module:Class"),
        ("no_such_module:X", "No module named 'no_such_module'"),
        ("ConvVea", "expected ConvVAE or module:Class"),
    ],
)
def test_unusable_class_raises(mine, model, message):
    with pytest.raises(UserError, match=message):
        make_vae(model, 3, 5, 20, 30)


@pytest.mark.parametrize(
    "part, statement, words",
    [
        ("__init__", "nn.Cnv2d", "AttributeError: module 'torch.nn' has no attribute 'Cnv2d'"),
        ("__init__", "raise SystemExit", "SystemExit"),
        ("start_at", "raise ValueError", "ValueError"),
        ("forward", "raise RuntimeError('too many')", "RuntimeError: too many"),
        ("forward", "raise torch.OutOfMemoryError", ""),
    ],
)
def test_error_in_an_own_vae_names_it_in_one_line(tmp_path, monkeypatch, part, statement, words):
    text = f"""
import torch
from torch import nn
from worldmodels.models.vae import ConvVAE


class Mine(ConvVAE):
    def {part}(self, *arguments):
        {statement}
        return super().{part}(*arguments)
"""
    (tmp_path / "raising_vae.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("raising_vae", None)

    def use() -> None:
        vae = make_vae("raising_vae:Mine", 3, 4, 32, 32)
        with user_network_code(vae):
            vae.start_at(torch.ones(3))
        VAELearner(vae, None, 1.0, CPU).losses(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))

    if not words:
        with pytest.raises(torch.OutOfMemoryError):
            use()
        return
    with pytest.raises(UserError, match=rf"^vae.model: raising_vae:Mine raised {words} \(raising_vae.py, line 9\)$"):
        use()


@pytest.mark.parametrize("text, why", [("(", "SyntaxError"), ("x", "NameError: name 'x' is not defined")])
def test_broken_own_module_raises(mine, text, why):
    mine.with_name(f"broken_{why[0]}.py").write_text(text)
    with pytest.raises(UserError, match=rf"vae.model: expected .*broken_{why[0]}:X.* \({why}"):
        make_vae(f"broken_{why[0]}:X", 3, 5, 20, 30)
    with pytest.raises(UserError, match=rf"env.import: expected a module to import, found 'broken_{why[0]}' \({why}"):
        make_gymnasium(EnvConfig(import_=f"broken_{why[0]}"))
