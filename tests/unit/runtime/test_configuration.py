"""Every default has one source, and every mistake in a configuration gives one clear line."""

import argparse
import datetime
import json
import re
import shlex
from collections import OrderedDict

import pytest
import yaml

from helpers.programs import ROOT
from worldmodels.envs.backends import choose_backend
from worldmodels.runtime.config import (
    SECTIONS,
    EnvConfig,
    RolloutsConfig,
    WMControllerConfig,
    WMMDNRNNConfig,
    WMVAEConfig,
)
from worldmodels.runtime.config_arguments import merge_config, parse_config_arguments
from worldmodels.runtime.config_file import as_yaml
from worldmodels.runtime.effects import compared_fields
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import add_flags, role_flags, section_from_args
from worldmodels.runtime.loading import load_config
from worldmodels.runtime.paths import normal_path, num_shards, rollout_files
from worldmodels.runtime.settings import BUDGET, RESULT, RUNTIME, settable
from worldmodels.runtime.values import from_text, to_text
from worldmodels.workflow.config_page import WORKFLOW_KEYS, as_page


def test_config_yaml_is_what_the_dataclasses_say():
    assert (ROOT / "config.yaml").read_text() == as_yaml(), (
        "config.yaml is not as shipped; rewrite it with: make config"
    )


def test_the_page_of_the_configuration_is_what_the_dataclasses_say():
    assert (ROOT / "docs/configuration.md").read_text() == as_page(), "rewrite the page with: make config"


def test_the_page_has_each_key_that_only_the_workflow_reads():
    source = (ROOT / "scripts/worldmodels/workflow/configuration.py").read_text()
    assert set(re.findall(r'config\.(?:pop|get)\("(\w+)"', source)) == set(WORKFLOW_KEYS)


def test_yaml_of_the_defaults_loads_as_the_defaults():
    assert load_config(yaml.safe_load(as_yaml())) == load_config({})


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_load(preset):
    load_config(yaml.safe_load(preset.read_text()))


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
    result = cls()
    for name, default in SPECIFIED[cls].items():
        assert hasattr(result, name)
        if default is not None:
            assert getattr(result, name) == default


@pytest.mark.parametrize("cls", SECTIONS.values(), ids=SECTIONS)
def test_defaults_validate(cls):
    section = cls()
    values = section.to_dict()
    assert section.validate() is True and section.to_dict() == values


@pytest.mark.parametrize(
    "cls, name, value, message",
    [
        (WMVAEConfig, "latent_size", 0, "vae.latent_size: expected at least 1, found 0"),
        (WMMDNRNNConfig, "cell", "rnn", "mdrnn.cell: expected one of lstm, gru, found 'rnn'"),
        (WMControllerConfig, "hard_share", 2, "ctrl.hard_share: expected at most 1.0, found 2.0"),
        (WMControllerConfig, "cma", {"CMA_mirrormethod": 1}, "ctrl.cma: "),
        (RolloutsConfig, "mixture", {"ou": 0}, "rollouts.mixture: expected positive, finite weights"),
        (EnvConfig, "crop", [1], "env.crop: expected [top, bottom, left, right] or [], found [1]"),
    ],
)
def test_validate_finds_values_that_were_set_later(cls, name, value, message):
    section = cls()
    setattr(section, name, value)
    with pytest.raises(UserError, match=re.escape(message)):
        section.validate()


def test_extra_reads_like_attributes():
    result = WMVAEConfig(extra={"note": "mine"})
    assert result.note == "mine"
    with pytest.raises(AttributeError, match="other"):
        _ = result.other


DATE = datetime.date(2021, 3, 1)
ENDLESS: dict = {}
ENDLESS["again"] = ENDLESS


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
        ({"rollouts": {"mixture": {"brownain": 1.0}}}, "rollouts.mixture: expected positive, finite weights of random"),
        ({"rollouts": {"mixture": {"ou": float("inf")}}}, "rollouts.mixture: expected positive, finite weights .* inf"),
        (
            {"env": {"kwargs": {"a": [{"b": DATE}]}}},
            r"env.kwargs: expected text, .*datetime.date\(.*at a\[0\].b; quote",
        ),
        ({"vae": {"extra": {"a": {1, 2}}}}, "vae.extra: expected text, numbers, .*{1, 2} at a"),
        ({"mdrnn": {"extra": {"a": b"x"}}}, "mdrnn.extra: expected text, numbers, .*b'x' at a"),
        ({"ctrl": {"cma": {1: 2}}}, "ctrl.cma: expected text as keys, found 1; quote it"),
        ({"ctrl": {"extra": {"a": {DATE: 2}}}}, "ctrl.extra: expected text or numbers as keys, found datetime.date"),
        ({"vae": {"extra": ENDLESS}}, "vae.extra: expected at most 50 nested levels, found more"),
        ({"env": {"import": "a\0b"}}, "env.import: expected text without the character NUL"),
        ({"logdir": 202401}, "logdir: expected str, found 202401 .*quote it, with --config in two kinds, as 'logdir="),
        ({"logdir": "res{a}"}, "logdir: expected a path without braces, .* found 'res{a}'"),
        ({"data_dir": "a}"}, "data_dir: expected a path without braces"),
        ({"rollouts": {"agent": "{x}"}}, "rollouts.agent: expected a path without braces"),
        ({"logdir": "-x"}, "logdir: expected a path that does not begin with a dash, found '-x'"),
        ({"rollouts": {"policy": "agent", "agent": "results/carracing"}}, "rollouts.agent: expected another run's"),
    ],
)
def test_mistakes_are_named(given, message):
    with pytest.raises(UserError, match=message):
        load_config(given)


NASTY = (
    "a 'b' $(c) \"d\"", "{shard} {wildcards.x} {{y}}", "-x", "--log", "`id`; \\ \n two \t", "!pairs", "ü \u2028", "",
    "1e3", "null", "@x", "#x", "$HOME ~ *", "=",
)  # fmt: skip


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("cls", SECTIONS.values(), ids=lambda cls: cls.__name__)
def test_flags_carry_every_value(cls, text):
    """A section turned into flags and parsed again is the same section."""
    mapping = {text: [1, text, None, 0.5, {1: text, "1": True, None: {}}], "k": {"!pairs": [[1, 2]]}, "l": {0: {2: 3}}}
    odd = {bool: True, str: text, dict: mapping}
    result = cls()
    for f in settable(cls):
        if f.type in odd and not f.metadata["choices"]:
            setattr(result, f.name, odd[f.type])
    if isinstance(result, RolloutsConfig):
        result.mixture = {"random": 0.25, "ou": 1}  # its names are checked
    if isinstance(result, WMControllerConfig):
        result.cma = {"CSA_clip_length_value": [-1, 2.5], "AdaptSigma": "CSA"}  # so are these
    parser = argparse.ArgumentParser()
    add_flags(parser, cls)
    line = role_flags(result, (RESULT, BUDGET, RUNTIME))
    again = section_from_args(parser.parse_args(shlex.split(line)), cls)
    assert again == result


def test_keys_of_mappings_keep_their_types():
    for value in (
        {0: -2.0, 1: 2.0},
        {"0": 1, 0: 2},
        {"!pairs": [[0, 1]]},
        {True: {1.5: []}},
        [{None: 1}],
        {},
        {"a": 1},
    ):
        again = from_text(to_text(value))
        assert again == value and to_text(again) == to_text(value)
    assert to_text({"b": {"c": 1}, "a": 2}) == '{"a": 2, "b": {"c": 1}}'
    assert to_text({1: 2, 0: 3}) == to_text({0: 3, 1: 2}) != to_text({"0": 3, "1": 2})


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("vae={model: '@foo'}", {"vae": {"model": "@foo"}}),
        ("vae={extra: {a: '', b: '{foo}', c: '1'}}", {"vae": {"extra": {"a": "", "b": "{foo}", "c": "1"}}}),
        ("env={kwargs: {gains: {0: -2.0, '1': no}}}", {"env": {"kwargs": {"gains": {0: -2.0, "1": False}}}}),
        ("env={kwargs: {start: '2021-03-01'}}", {"env": {"kwargs": {"start": "2021-03-01"}}}),
        ('logdir="2024_01"', {"logdir": "2024_01"}),
        ("logdir=2024_01", {"logdir": 202401}),
        ("logdir=a=b c", {"logdir": "a=b c"}),
        ("logdir=@x", {"logdir": "@x"}),
        ("logdir=", {"logdir": None}),
        ("seeds=[1,2]", {"seeds": [1, 2]}),
        ("seed=2", {"seed": 2}),
    ],
)
def test_command_line_keeps_what_the_user_wrote(entry, value):
    assert repr(parse_config_arguments([entry])) == repr(value)


def test_values_of_the_command_line_add_up():
    entries = ["vae={beta: 2.0}", "seed=2", "vae={latent_size: 8}"]
    assert parse_config_arguments(entries) == {"vae": {"beta": 2.0, "latent_size": 8}, "seed": 2}


@pytest.mark.parametrize("entry", ["vae={model: @foo}", "vae={a: 2021-02-30}", "seeds=[1", 'logdir="x'])
def test_a_value_that_is_no_yaml_is_named(entry):
    with pytest.raises(UserError, match=f"^{entry.split('=')[0]}: expected YAML, found "):
        parse_config_arguments([entry])


def test_a_folder_has_one_spelling(tmp_path, monkeypatch):
    work = tmp_path / "it's a folder"
    (work / "results/x").mkdir(parents=True)
    (tmp_path / "far/deep").mkdir(parents=True)
    (work / "link").symlink_to(tmp_path / "far/deep")
    (tmp_path / "alias").symlink_to(work)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = {
        "results/x": "results/x", "./results/x": "results/x", "results//x/": "results/x",
        "results/./y/../x": "results/x", f"{work}/results/x": "results/x", f"{tmp_path}/alias/results/x": "results/x",
        "new/folder/": "new/folder", ".": ".", "": ".", "~/x": str(tmp_path / "x"), "../x": str(tmp_path / "x"),
        "/no/such//x/": "/no/such/x", "link/x": "link/x", "link/../x": str(tmp_path / "far/x"),
    }  # fmt: skip
    assert {path: normal_path(path, "logdir") for path in spellings} == spellings


def test_folders_of_a_configuration_are_normal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load_config({"logdir": f"{tmp_path}/a//b", "rollouts": {"agent": "./c/"}})
    assert (loaded.logdir, loaded.data_dir, loaded.rollouts.agent) == ("a/b", "a/b/rollouts", "c")
    assert (loaded.run.logdir, loaded.run.data_dir) == ("a/b", "a/b/rollouts")
    assert load_config({}).logdir == "results/carracing"


IDLE = {  # section, its values, keys without effect then, keys with effect
    "no agent drives": ("rollouts", {}, {"agent_noise"}, {"mixture", "ou_mean", "ou_sigma", "gymnasium_share"}),
    "the agent drives": ("rollouts", {"policy": "agent"}, {"mixture", "ou_mean"}, {"agent_noise", "ou_sigma"}),
    "without noise": ("rollouts", {"policy": "agent", "agent_noise": 0.0}, {"ou_sigma", "ou_theta"}, {"agent_noise"}),
    "random": ("rollouts", {"policy": "random"}, {"mixture", "ou_mean", "ou_sigma", "ou_theta"}, {"policy", "seq_len"}),
    "ou": ("rollouts", {"policy": "ou"}, {"mixture", "agent_noise"}, {"ou_mean", "ou_sigma", "ou_theta"}),
    "a mixture without ou": ("rollouts", {"mixture": {"random": 1, "ou": 0}}, {"ou_mean", "ou_theta"}, {"mixture"}),
    "short training": (
        "vae", {}, {"early_stopping_patience", "memory_gb"}, {"scheduler_patience", "scheduler_factor", "beta"},
    ),
    "long training": ("vae", {"num_epochs": 31}, set(), {"early_stopping_patience", "scheduler_patience"}),
    "little memory": ("vae", {"memory_gb": 1.0}, set(), {"memory_gb"}),
    "M is not trained": (
        "mdrnn", {"num_epochs": 0},
        {"learning_rate", "grad_clip", "scheduler_patience", "early_stopping_patience"}, {"num_epochs", "hidden_size"},
    ),
    "ascent": ("ctrl", {}, {"hard_share", "sample_growth"}, {"ascent_after", "ascent_rate"}),
    "no ascent": ("ctrl", {"ascent_after": 0}, {"ascent_after", "ascent_rate"}, {"sigma0"}),
    "over before the ascent": ("ctrl", {"max_env_steps": 400000}, {"ascent_after", "ascent_rate"}, {"max_env_steps"}),
    "hard tracks": ("ctrl", {"n_samples": 2, "hard_share": 0.5}, {"sample_growth"}, {"hard_share"}),
    "growth": ("ctrl", {"sample_growth": 1000}, set(), {"hard_share", "sample_growth"}),
}  # fmt: skip


@pytest.mark.parametrize("case", IDLE)
def test_only_keys_with_an_effect_count(case):
    section, values, idle, counting = IDLE[case]
    agent = {"agent": "elsewhere"} if section == "rollouts" else {}
    loaded = load_config({section: {**values, **agent}})
    names = set(compared_fields(getattr(loaded, section), loaded))
    assert not idle & names and counting <= names


@pytest.mark.parametrize(
    ("env", "certain"),
    [
        ({"backend": "gymnasium"}, True),
        ({"kwargs": {"a": 1}}, True),
        ({"import": "json"}, True),
        ({"frames": "render"}, True),
        ({}, False),
        ({"frames": "observation"}, False),
        ({"backend": "envpool", "import": "json"}, False),
    ],
)
def test_episodes_of_gymnasium_alone_have_no_share_of_gymnasium(env, certain):
    loaded = load_config({"env": env})
    assert ("gymnasium_share" not in compared_fields(loaded.rollouts, loaded)) == certain
    if certain:
        assert choose_backend(loaded.env) == "gymnasium"


def test_mappings_of_json_files_become_plain():
    """Snakemake reads them as OrderedDict, also where the configuration has null."""
    values: dict = {"rollouts": {"mixture": None}}
    merge_config(values, json.loads('{"rollouts": {"mixture": {"ou": 1}}}', object_pairs_hook=OrderedDict))
    assert values == {"rollouts": {"mixture": {"ou": 1}}} and type(values["rollouts"]["mixture"]) is dict
    assert load_config(values).rollouts.mixture == {"ou": 1}


def test_options_do_not_depend_on_order_or_spelling():
    first = load_config({"vae": {"learning_rate": 1, "beta": 2.0}})
    second = load_config({"vae": {"beta": 2, "learning_rate": 1.0}})
    swapped = load_config({"vae": {"beta": 1, "learning_rate": 2}})
    assert role_flags(first.vae) == role_flags(second.vae) != role_flags(swapped.vae)


def test_runtime_keys_are_no_options():
    assert "max-workers" not in role_flags(WMControllerConfig())
    assert "num-generations" in role_flags(WMControllerConfig())
    assert "num-generations" not in role_flags(WMControllerConfig(), (RESULT,))


def test_rollout_files_come_in_the_order_of_episodes():
    files = rollout_files("d", 5, 2)
    assert files == [f"d/{shard:05d}_{i:04d}.npz" for shard, i in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]]
    assert files == sorted(files)
    assert num_shards(5, 2) == 3


def test_defaults_of_carracing_do_not_apply_to_other_environments():
    car, second = load_config({}), load_config({"env": {"id": "Pendulum-v1"}})
    assert (car.logdir, car.data_dir) == ("results/carracing", "results/carracing/rollouts")
    assert (second.logdir, second.data_dir) == ("results/pendulum", "results/pendulum/rollouts")
    assert second.rollouts.ou_mean == second.rollouts.ou_sigma == second.ctrl.squash == []
    assert second.ctrl.stall_limit == second.ctrl.time_limit == 0 and second.ctrl.target_return is None
    assert (car.ctrl.stall_limit, car.ctrl.time_limit, car.ctrl.target_return) == (30, 1000, 950.0)
    assert load_config({"env": {"id": "Pendulum-v1"}, "ctrl": {"stall_limit": 30}}).ctrl.stall_limit == 30
    assert load_config({"ctrl": {"stall_limit": None}}).ctrl == car.ctrl == WMControllerConfig()
    assert "--import my_package" in role_flags(EnvConfig(import_="my_package")).replace("--env-", "--")
