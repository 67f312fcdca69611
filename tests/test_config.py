"""The configuration: one source of every default, and one clear line for every mistake."""

import argparse
import shlex
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from worldmodels import config, settings
from worldmodels.config import SECTIONS, WMControllerConfig, WMMDNRNNConfig, WMVAEConfig
from worldmodels.settings import UserError


def test_config_yaml_is_what_the_dataclasses_say():
    assert (ROOT / "config.yaml").read_text() == config.as_yaml(), (
        "config.yaml is not as shipped; rewrite it with: cd scripts && python -m worldmodels.config > ../config.yaml"
    )


def test_yaml_of_the_defaults_loads_as_the_defaults():
    assert config.load(yaml.safe_load(config.as_yaml())) == config.load({})


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_load(preset):
    config.load(yaml.safe_load(preset.read_text()))


SPECIFIED = {  # field -> default, from the specification's tables; None: a measured better default replaced it
    WMVAEConfig: dict(
        height=64, width=64, latent_size=32, device="auto", train_batch_size=None, num_epochs=None,
        data_dir="results/carracing/rollouts", learning_rate=1e-3, logdir="results/carracing", noreload=False,
        nosamples=False, scheduler_patience=5, scheduler_factor=0.5, early_stopping_patience=30, sample_interval=5,
        extra={},
    ),
    WMMDNRNNConfig: dict(
        latent_size=32, action_size=3, hidden_size=256, gmm_components=5, device="auto", batch_size=None, seq_len=32,
        num_epochs=30, data_dir="results/carracing/rollouts", learning_rate=1e-3, logdir="results/carracing",
        noreload=False, include_reward=True, scheduler_patience=5, scheduler_factor=0.5, early_stopping_patience=30,
        extra={},
    ),
    WMControllerConfig: dict(
        latent_size=32, hidden_size=256, action_size=3, env_name="CarRacing-v3", logdir="results/carracing",
        n_samples=None, pop_size=None, target_return=950.0, max_workers=32, display=True, time_limit=1000, extra={},
    ),
}  # fmt: skip


@pytest.mark.parametrize("cls", SPECIFIED, ids=lambda cls: cls.__name__)
def test_every_specified_field_is_there(cls):
    made = cls()
    for name, default in SPECIFIED[cls].items():
        assert hasattr(made, name)
        if default is not None:
            assert getattr(made, name) == default


def test_extra_reads_like_attributes():
    made = WMVAEConfig(extra={"note": "mine"})
    assert made.note == "mine"
    with pytest.raises(AttributeError, match="other"):
        _ = made.other


@pytest.mark.parametrize(
    "given, message",
    [
        ({"vea": {}}, r"vea: unknown key in the configuration \(did you mean vae\?\)"),
        ({"vae": {"latent_sise": 3}}, r"vae.latent_sise: unknown key \(did you mean latent_size\?\)"),
        ({"vae": {"latent_size": 0}}, "vae.latent_size: expected at least 1, found 0"),
        ({"vae": {"latent_size": 2.5}}, "vae.latent_size: expected int, found 2.5"),
        ({"vae": {"latent_size": True}}, "vae.latent_size: expected int, found True"),
        ({"vae": {"learning_rate": "1e-3"}}, "vae.learning_rate: expected float, found '1e-3'.*write 1.0e-3"),
        ({"vae": {"learning_rate": 0}}, "vae.learning_rate: expected more than 0.0, found 0.0"),
        ({"vae": {"learning_rate": float("nan")}}, "vae.learning_rate: expected a finite number"),
        ({"vae": None}, "vae: expected a section with keys, found None"),
        ({"vae": {"height": 32}}, "vae.height: not set here, it comes from env.height"),
        ({"mdrnn": {"latent_size": 8}}, "mdrnn.latent_size: not set here, it comes from V's checkpoint"),
        ({"mdrnn": {"include_reward": "yes"}}, "mdrnn.include_reward: expected bool, found 'yes'"),
        ({"env": {"backend": "envpol"}}, r"env.backend: expected one of auto, gymnasium, envpool.*mean envpool\?"),
        ({"ctrl": {"squash": "tanh"}}, "ctrl.squash: expected list of str, found 'tanh'"),
        ({"env": {"import_": "x"}}, r"env.import_: unknown key \(did you mean import\?\)"),
        ({"env_name": "x"}, "env_name: unknown key in the configuration"),
        ({"ctrl": {"stall_limit": -1}}, "ctrl.stall_limit: expected at least 0, found -1"),
        ({"ctrl": {"sigma0": None}}, "ctrl.sigma0: expected float, found None"),
        ({"ctrl": {"squash": ["tan"]}}, "ctrl.squash: expected one of tanh"),
        ({"rollouts": {"ou_mean": [0, "x"]}}, "rollouts.ou_mean: expected a list of float, found 'x' in it"),
        ({"vae": {"model": "ConvVea"}}, "vae.model: expected ConvVAE or module:Class, found 'ConvVea'"),
        ({"vae": {"model": "my_vae:"}}, "vae.model: expected ConvVAE or module:Class, found 'my_vae:'"),
        ({"seed": -1}, "seed: expected at least 0, found -1"),
        ({"rollouts": {"mixture": {"brownain": 1.0}}}, "rollouts.mixture: expected positive weights of random"),
        ({"rollouts": {"policy": "agent", "agent": "results/carracing"}}, "rollouts.agent: expected another run's"),
    ],
)
def test_mistakes_are_named(given, message):
    with pytest.raises(UserError, match=message):
        config.load(given)


@pytest.mark.parametrize("cls", SECTIONS.values(), ids=lambda cls: cls.__name__)
def test_flags_carry_every_value(cls):
    """A section turned into flags and parsed again is the same section."""
    odd = {bool: True, str: "a 'b' $(c)", dict: {"k": [1, "x y"]}}
    made = cls()
    for f in settings.settable(cls):
        if f.type in odd and not f.metadata["choices"]:
            setattr(made, f.name, odd[f.type])
    if isinstance(made, config.RolloutsConfig):
        made.mixture = {"random": 0.25, "ou": 1}  # its names are checked
    if isinstance(made, WMControllerConfig):
        made.cma = {"CSA_clip_length_value": [-1, 2.5], "AdaptSigma": "CSA"}  # so are these
    parser = argparse.ArgumentParser()
    settings.add_flags(parser, cls)
    line = settings.options(made, (settings.RESULT, settings.BUDGET, settings.RUNTIME))
    again = settings.from_args(parser.parse_args(shlex.split(line)), cls)
    assert again == made


def test_options_do_not_depend_on_order_or_spelling():
    one = config.load({"vae": {"learning_rate": 1, "beta": 2.0}})
    other = config.load({"vae": {"beta": 2, "learning_rate": 1.0}})
    swapped = config.load({"vae": {"beta": 1, "learning_rate": 2}})
    assert settings.options(one.vae) == settings.options(other.vae) != settings.options(swapped.vae)


def test_runtime_keys_are_no_options():
    assert "max-workers" not in settings.options(WMControllerConfig())
    assert "num-generations" in settings.options(WMControllerConfig())
    assert "num-generations" not in settings.options(WMControllerConfig(), (settings.RESULT,))


def test_a_dry_run_need_not_import_torch():
    code = "import sys; import worldmodels.config, worldmodels.fingerprint; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_rollout_files_come_in_the_order_of_episodes():
    files = config.rollout_files("d", 5, 2)
    assert files == [f"d/{shard:05d}_{i:04d}.npz" for shard, i in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]]
    assert files == sorted(files)
    assert config.num_shards(5, 2) == 3
