"""Other networks than the paper's: V of any size or class, M of other cells and layers, C with other features."""

import shutil
import sys

import numpy as np
import pytest
import torch
from torch import nn

from helpers.programs import ROOT
from worldmodels import checkpoint
from worldmodels import fingerprint as fingerprints
from worldmodels.agent import WorldModel, load_world_model
from worldmodels.config import EnvConfig, load
from worldmodels.controller import (
    Controller,
    ManyControllers,
    flatten_parameters,
    load_agent,
    make_controller,
)
from worldmodels.instances import make_gymnasium
from worldmodels.mdrnn import MDRNN, get_loss, to_cell
from worldmodels.on_policy import EarlierAgent
from worldmodels.settings import UserError
from worldmodels.vae import VAE, ConvVAE, calls_of, conv_vae_loss_fn, encode, make_vae
from worldmodels.vae_training import batch_functions

CPU = torch.device("cpu")
SIZES = [(32, 32), (40, 56), (32, 96), (64, 64), (64, 128), (96, 96), (128, 128), (112, 80)]


@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_v_of_any_size(height, width, channels):
    vae, x = ConvVAE(channels, 7, height, width), torch.rand(2, channels, height, width)
    reconst, mu, logsigma = vae(x)
    assert reconst.shape == x.shape and mu.shape == logsigma.shape == (2, 7)
    conv_vae_loss_fn(reconst, x, mu, logsigma).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.parameters())


@pytest.mark.parametrize(
    "height, width, named", [(31, 64, "height"), (72, 72, "height"), (64, 33, "width"), (16, 16, "height")]
)
def test_sizes_that_v_cannot_make_are_named(height, width, named):
    with pytest.raises(UserError, match=rf"env.{named}: expected 32, 40, 48 or 56, or, both sides, 64, 80"):
        load({"env": {"height": height, "width": width}})
    assert load({"env": {"height": height, "width": width}, "vae": {"model": "mine:Mine"}}).env.height == height


def test_every_size_that_is_let_through_works():
    for size in range(1, 200):
        try:
            load({"env": {"height": size, "width": size}})
        except UserError:
            continue
        assert ConvVAE(1, 2, size, size)(torch.rand(1, 1, size, size))[0].shape[2:] == (size, size)


def test_frames_of_another_size_are_named():
    frames = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    with pytest.raises(UserError, match=r"env.height.*expected frames shaped \(64, 64, 3\).*found \(32, 32, 3\)"):
        encode(ConvVAE(3, 4), frames)


MINE = """
import torch
from torch import nn
from worldmodels.vae import VAE


class Split(nn.Module):
    def __init__(self, inputs, latents):
        super().__init__()
        self.both = nn.Linear(inputs, 2 * latents)

    def forward(self, x):
        return self.both(x.flatten(1)).chunk(2, -1)


class Flat(VAE):
    def __init__(self, img_channels, latent_size, height, width):
        super().__init__(img_channels, latent_size, height, width)
        shape = (img_channels, height, width)
        self.encoder = Split(img_channels * height * width, latent_size)
        self.decoder = nn.Sequential(nn.Linear(latent_size, height * width * img_channels), nn.Sigmoid(),
                                     nn.Unflatten(1, shape))


class Wrong(Flat):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.decoder = nn.Linear(self.latent_size, 3)


class Broken(Flat):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.encoder = nn.Linear(5, 5)


class Foreign(nn.Module):
    pass
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine_vae.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "mine_vae.py"


def test_a_class_of_ones_own_is_v(mine):
    vae = make_vae("mine_vae:Flat", 3, 5, 20, 30)
    assert isinstance(vae, VAE) and vae(torch.rand(2, 3, 20, 30))[0].shape == (2, 3, 20, 30)


@pytest.mark.parametrize(
    "model, message",
    [
        ("mine_vae:Wrong", r"expected decoder of mine_vae:Wrong shaped \(2, 3, 20, 30\), found \(2, 3\)"),
        ("mine_vae:Broken", r"mine_vae:Broken, given images shaped \(2, 3, 20, 30\), raised RuntimeError: mat1"),
        ("mine_vae:Foreign", "expected ConvVAE or module:Class, a class made of worldmodels.vae.VAE"),
        ("mine_vae:None", "expected ConvVAE or module:Class"),
        ("no_such_module:X", "No module named 'no_such_module'"),
        ("ConvVea", "expected ConvVAE or module:Class"),
    ],
)
def test_classes_that_cannot_be_v_are_named(mine, model, message):
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
def test_what_a_v_of_ones_own_raises_names_it_in_one_line(tmp_path, monkeypatch, part, statement, words):
    text = f"""
import torch
from torch import nn
from worldmodels.vae import ConvVAE


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
        with calls_of(vae):
            vae.start_at(torch.ones(3))
        batch_functions(vae, None, 1.0, CPU)[0](torch.zeros(2, 32, 32, 3, dtype=torch.uint8))

    if not words:
        with pytest.raises(torch.OutOfMemoryError):
            use()
        return
    with pytest.raises(UserError, match=rf"^vae.model: raising_vae:Mine raised {words} \(raising_vae.py, line 9\)$"):
        use()


@pytest.mark.parametrize("text, why", [("(", "SyntaxError"), ("x", "NameError: name 'x' is not defined")])
def test_mistakes_in_ones_own_module_are_named(mine, text, why):
    mine.with_name(f"broken_{why[0]}.py").write_text(text)
    with pytest.raises(UserError, match=rf"vae.model: expected .*broken_{why[0]}:X.* \({why}"):
        make_vae(f"broken_{why[0]}:X", 3, 5, 20, 30)
    with pytest.raises(UserError, match=rf"env.import: expected a module to import, found 'broken_{why[0]}' \({why}"):
        make_gymnasium(EnvConfig(import_=f"broken_{why[0]}"))


def test_ones_own_code_counts(mine):
    """Of a module the file and its neighbours that it imports, of a package all files, but no comments; what is not
    found here counts for nothing."""

    def count(*users: str) -> str:
        return fingerprints.fingerprint(ROOT / "scripts/train_vae.py", *users)

    plain, before = count(), count("mine_vae:Flat")
    assert plain != before and count("") == count("not_found_here:X") == plain
    mine.write_text(MINE + "\n# a comment\n")
    assert count("mine_vae:Flat") == before
    mine.write_text(MINE.replace("Sigmoid", "Hardsigmoid"))
    assert count("mine_vae:Flat") != before
    mine.write_text("(")
    assert count("mine_vae:Flat") != before
    shutil.copytree(ROOT / "tests/samples/arena", mine.parent / "my_arena")
    (mine.parent / "my_arena/more.py").write_text("X = 1")
    before = count("my_arena")
    (mine.parent / "my_arena/more.py").write_text("X = 2")
    assert count("my_arena") != before
    mine.write_text(MINE + "\nimport my_blocks\n")
    (mine.parent / "my_blocks.py").write_text("import torch, my_parts.more")
    (mine.parent / "my_parts").mkdir()
    (mine.parent / "my_parts/__init__.py").touch()
    before = count("mine_vae:Flat")
    (mine.parent / "my_parts/more.py").write_text("X = 2")
    assert count("mine_vae:Flat") != before
    assert count("worldmodels.vae:ConvVAE") != plain


KINDS = [("lstm", 1), ("lstm", 3), ("gru", 1), ("gru", 2)]


@pytest.mark.parametrize("cell, layers", KINDS)
def test_the_cell_of_any_kind_does_what_the_network_does(cell, layers):
    torch.manual_seed(0)
    m = MDRNN(8, 3, 16, 2, cell, layers).eval()
    step, actions, latents = to_cell(m), torch.randn(20, 2, 3), torch.randn(20, 2, 8)
    with torch.no_grad():
        whole, hidden = m(actions, latents), step.get_init_hidden(2)
        assert len(hidden) == (2 if cell == "lstm" else 1) and hidden[0].shape == (2, 16 * layers)
        for t in range(20):
            *outputs, hidden = step(actions[t], latents[t], hidden)
            for one, other in zip(outputs, whole):
                torch.testing.assert_close(one, other[t], atol=1e-5, rtol=1e-5)
    last = step.last_layer(hidden)
    torch.testing.assert_close(last[0], m.rnn(torch.cat([actions, latents], -1))[0][-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell, layers", KINDS)
def test_every_parameter_of_any_kind_gets_a_gradient(cell, layers):
    m = MDRNN(8, 3, 16, 2, cell, layers)
    z, values = torch.randn(7, 2, 8), torch.rand(6, 2)
    get_loss(m, z[:-1], torch.randn(6, 2, 3), values, values.round(), z[1:])["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in m.parameters())


def world(cell="lstm", layers=1) -> WorldModel:
    return WorldModel(ConvVAE(3, 8).eval(), to_cell(MDRNN(8, 3, 16, 2, cell, layers)), CPU, 0)


@pytest.mark.parametrize("features, size", [("z", 8), ("h", 16), ("zh", 24), ("zhc", 40)])
@pytest.mark.parametrize("hidden", [[], [40], [7, 5]])
def test_controllers_of_any_shape_act_together_as_each_would(features, size, hidden):
    made, torch_world = [], world(layers=2)
    for _ in range(4):
        made.append(make_controller({"features": features, "hidden": hidden}, torch_world))
    assert made[0].layers[0].in_features == size and made[0].fc.out_features == 3
    many = ManyControllers(torch.from_numpy(np.stack([flatten_parameters(c) for c in made])).float(), made[0])
    z, state = torch.randn(4, 8), (torch.randn(4, 32), torch.randn(4, 32))
    inputs = torch_world.features(features, z, state)
    for alive in ([0, 1, 2, 3], [1, 3]):
        out = many.act(np.array(alive), **{name: part[alive] for name, part in inputs.items()})
        for row, i in enumerate(alive):
            expected = made[i](**{name: part[i : i + 1] for name, part in inputs.items()})[0]
            torch.testing.assert_close(out[row], expected, atol=1e-5, rtol=1e-5)


def test_features_are_those_of_the_last_layer():
    made, z = world(layers=2), torch.randn(1, 8)
    h, c = torch.arange(32.0)[None], -torch.arange(32.0)[None]
    parts = {name: part.tolist() for name, part in made.features("zhc", z, (h, c)).items()}
    assert parts == {"z": z.tolist(), "h": h[:, 16:].tolist(), "c": c[:, 16:].tolist()}


def test_a_gru_has_no_c():
    with pytest.raises(UserError, match=r"ctrl.features: expected z, h or zh"):
        load({"mdrnn": {"cell": "gru"}, "ctrl": {"features": "zhc"}})
    with pytest.raises(UserError, match=r"ctrl.features: expected z, h or zh"):
        make_controller({"features": "zhc"}, world("gru"))


def test_a_controller_that_is_linear_is_as_before():
    assert list(Controller(8, 16, 3).state_dict()) == ["fc.weight", "fc.bias"]
    assert isinstance(Controller(8, 16, 3, "z", [5]).layers[0], nn.Linear)


def made_of(folder, **digests) -> dict:
    """A checkpoint of C with these digests of its models; without any, as older versions wrote it."""
    saved = {
        "state_dict": Controller(8, 16, 3).state_dict(), "reward": 1.0, "epoch": 1,
        "config": {"latent_size": 8, "hidden_size": 16, "action_size": 3, "squash": []},
        "env_steps": {"rollouts": 1, "controller": 1}, **digests,
    }  # fmt: skip
    checkpoint.write_best(folder / "ctrl", saved)
    return saved


@pytest.fixture
def agent(tmp_path):
    """The folder of a V and an M, and the digests of their files."""
    vae, mdrnn = ConvVAE(3, 8), MDRNN(8, 3, 16, 2)
    shape = {"model": "ConvVAE", "latent_size": 8, "channels": 3, "img_channels": 3, "height": 64, "width": 64}
    checkpoint.write_best(tmp_path / "vae", {"state_dict": vae.state_dict(), "epoch": 1, "config": shape})
    digests = {"vae": checkpoint.digest(tmp_path / "vae/best.tar")}
    sizes = {"latent_size": 8, "action_size": 3, "hidden_size": 16, "gmm_components": 2}
    checkpoint.write_best(tmp_path / "mdrnn", {"state_dict": mdrnn.state_dict(), "config": sizes, **digests})
    return tmp_path, digests | {"mdrnn": checkpoint.digest(tmp_path / "mdrnn/best.tar")}


def test_an_agent_knows_its_models(agent):
    folder, digests = agent
    assert load_world_model(str(folder), CPU).digests == digests
    made_of(folder, **digests)
    _, controller, saved = load_agent(str(folder), CPU)
    assert controller.fc.out_features == 3 and {key: saved[key] for key in digests} == digests
    summary = checkpoint.read_json(folder / "ctrl/best.json")
    assert {key: summary[key] for key in digests} == digests


@pytest.mark.parametrize("stage, name", [("vae", "V"), ("mdrnn", "M")])
def test_another_model_of_equal_size_is_named(agent, stage, name):
    folder, digests = agent
    made_of(folder, **digests | {stage: "0" * 64})
    message = rf"ctrl/best.tar: expected C trained with .*/{stage}/best.tar, found another {name}'s$"
    with pytest.raises(UserError, match=message):
        load_agent(str(folder), CPU)
    with pytest.raises(UserError, match=message):
        EarlierAgent(str(folder))


def test_an_agent_of_before_digests_were_kept_loads(agent):
    folder, _ = agent
    made_of(folder)
    load_agent(str(folder), CPU)


def test_copied_linked_and_saved_again_models_are_the_same(agent, tmp_path_factory):
    folder, digests = agent
    made_of(folder, **digests)
    copy = tmp_path_factory.mktemp("copy")
    for stage in ("vae", "mdrnn", "ctrl"):
        (copy / stage).mkdir()
    shutil.copy(folder / "vae/best.tar", copy / "vae")
    (copy / "mdrnn/best.tar").symlink_to(folder / "mdrnn/best.tar")
    checkpoint.save(copy / "ctrl/best.tar", checkpoint.load(folder / "ctrl/best.tar"))
    assert load_agent(str(copy), CPU)[0].digests == digests
    checkpoint.save(copy / "vae/best.tar", checkpoint.load(folder / "vae/best.tar"))
    assert load_agent(str(copy), CPU)[0].digests == digests
