"""V, M and C form one agent, and files that do not belong together are refused."""

import shutil

import gymnasium as gym
import pytest
import torch

from helpers.models import untrained_world
from worldmodels.data.agent_policy import EarlierAgent
from worldmodels.models.controller import Controller
from worldmodels.models.mdrnn import MDRNN
from worldmodels.models.vae import ConvVAE
from worldmodels.playing.agent import load_agent, load_world_model
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.storage.checkpoints import load_checkpoint, save_checkpoint, write_best
from worldmodels.storage.files import read_json

CPU = torch.device("cpu")


def test_features_are_those_of_the_last_layer():
    result, z = untrained_world(layers=2), torch.randn(1, 8)
    h, c = torch.arange(32.0)[None], -torch.arange(32.0)[None]
    parts = {name: part.tolist() for name, part in result.features("zhc", z, (h, c)).items()}
    assert parts == {"z": z.tolist(), "h": h[:, 16:].tolist(), "c": c[:, 16:].tolist()}


def made_of(folder, **digests) -> dict:
    """A checkpoint of C with these digests of its models; without any, as older versions wrote it."""
    saved = {
        "state_dict": Controller(8, 16, 3).state_dict(), "reward": 1.0, "epoch": 1,
        "config": {"latent_size": 8, "hidden_size": 16, "action_size": 3, "squash": []},
        "env_steps": {"rollouts": 1, "controller": 1}, **digests,
    }  # fmt: skip
    write_best(folder / "ctrl", saved)
    return saved


@pytest.fixture
def agent(tmp_path):
    """The folder of a V and an M, and the digests of their files."""
    vae, mdrnn = ConvVAE(3, 8), MDRNN(8, 3, 16, 2)
    shape = {"model": "ConvVAE", "latent_size": 8, "channels": 3, "img_channels": 3, "height": 64, "width": 64}
    write_best(tmp_path / "vae", {"state_dict": vae.state_dict(), "epoch": 1, "config": shape})
    digests = {"vae": file_digest(tmp_path / "vae/best.tar")}
    sizes = {"latent_size": 8, "action_size": 3, "hidden_size": 16, "gmm_components": 2}
    write_best(tmp_path / "mdrnn", {"state_dict": mdrnn.state_dict(), "config": sizes, **digests})
    return tmp_path, digests | {"mdrnn": file_digest(tmp_path / "mdrnn/best.tar")}


def test_agent_holds_the_digests_of_its_models(agent):
    folder, digests = agent
    assert load_world_model(str(folder), CPU).digests == digests
    made_of(folder, **digests)
    _, controller, saved = load_agent(str(folder), CPU)
    assert controller.fc.out_features == 3 and {key: saved[key] for key in digests} == digests
    summary = read_json(folder / "ctrl/best.json")
    assert {key: summary[key] for key in digests} == digests


@pytest.mark.parametrize("stage, name", [("vae", "V"), ("mdrnn", "M")])
def test_other_model_of_equal_size_raises(agent, stage, name):
    folder, digests = agent
    made_of(folder, **digests | {stage: "0" * 64})
    message = rf"ctrl/best.tar: expected C trained with .*/{stage}/best.tar, found another {name}'s$"
    with pytest.raises(UserError, match=message):
        load_agent(str(folder), CPU)
    with pytest.raises(UserError, match=message):
        EarlierAgent(str(folder))


def test_agent_without_digests_loads(agent):
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
    save_checkpoint(copy / "ctrl/best.tar", load_checkpoint(folder / "ctrl/best.tar"))
    assert load_agent(str(copy), CPU)[0].digests == digests
    save_checkpoint(copy / "vae/best.tar", load_checkpoint(folder / "vae/best.tar"))
    assert load_agent(str(copy), CPU)[0].digests == digests


def test_models_of_another_environment_raise():
    with pytest.raises(UserError, match=r"best.tar: expected an M that knows.*Discrete\(4\), as 4 numbers, found 3"):
        untrained_world().squash([], gym.spaces.Discrete(4))
