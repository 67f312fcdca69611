"""A run of a sweep or variant inherits the configuration, and params hold every key once."""

import pytest

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.loading import load_config
from worldmodels.workflow import ablation, configuration, params, temperatures
from worldmodels.workflow.variants import variant_config


def test_a_module_inherits_the_configuration_with_changes():
    config = {"seed": 1, "vae": {"beta": 2.0, "latent_size": 8}}
    assert configuration.inherit(config, {"seed": 3, "vae": {"beta": 1.0}}) == {
        "seed": 3, "vae": {"beta": 1.0, "latent_size": 8}, "inherited": True,
    }  # fmt: skip
    assert config == {"seed": 1, "vae": {"beta": 2.0, "latent_size": 8}}


@pytest.mark.parametrize(
    "name, shared",
    [
        ("v_only", ["vae", "latents", "mdrnn"]),
        ("v_hidden", ["vae", "latents", "mdrnn"]),
        ("random_m", ["vae", "latents"]),
    ],
)
def test_a_variant_shares_the_stages_that_it_does_not_change(name, shared):
    config = variant_config({"evaluate": {"shards": 4}}, ablation.VARIANTS[name], f"run/ablation/{name}", "data")
    assert config.pop("shared") == shared and config.pop("inherited")
    loaded = load_config(config)
    assert (loaded.logdir, loaded.data_dir, loaded.evaluate.shards) == (f"run/ablation/{name}", "data", 1)


def test_temperatures_are_named_alike_however_they_are_written():
    checked = temperatures.read_temperatures([1, 1.0, 0.00001, 0.5, -0.0])
    assert list(temperatures.variants(checked)) == ["0.0", "1e-05", "0.5", "1.0"]
    assert temperatures.variants(checked)["0.5"] == {"ctrl": {"world": "dream", "temperature": 0.5}}
    prefixes = [temperatures.rule_prefix(name) for name in ("1e-05", "1e+20", "1.15")]
    assert prefixes == ["temperature_1eminus05", "temperature_1e20", "temperature_1_15"]


@pytest.mark.parametrize("value", [None, 0.5, [], [-1], [float("nan")], [float("inf")], [10**400], ["a"], [True]])
def test_temperatures_are_numbers_of_at_least_0(value):
    with pytest.raises(UserError, match="temperatures: expected a list of numbers of at least 0, found"):
        temperatures.read_temperatures(value)


def test_the_runs_own_dream_is_not_dreamt_twice():
    dreams = load_config({"logdir": "run", "ctrl": {"world": "dream", "temperature": 1.0}})
    assert temperatures.folders([0.5, 1.0], dreams) == {"0.5": "run/temperatures/0.5", "1.0": "run"}
    for other in ({"temperature": 1.0}, {"world": "dream", "temperature": 1.0, "start": "other/ctrl/best.tar"}):
        config = load_config({"logdir": "run", "ctrl": other})
        assert temperatures.folders([1.0], config) == {"1.0": "run/temperatures/1.0"}


def test_a_module_keeps_the_temperatures():
    config = {"temperatures": [2]}
    assert configuration.load(None, config, is_module=True)[2] == [2.0] and config == {"temperatures": [2]}


def test_user_errors_end_in_one_line(monkeypatch):
    with pytest.raises(SystemExit, match="config: seeds: expected a list of numbers of at least 0, found 3"):
        configuration.load(None, {"seeds": 3}, is_module=True)


def test_options_and_runtime_flags_have_every_key_once():
    config = load_config({})
    compared = params.option_flags(config, config.vae)
    runtime = params.runtime_flags(config, config.vae)
    assert compared.startswith("--seed 1 --beta 1.0") and "--logdir" not in compared
    assert runtime.startswith("--logdir results/carracing --data-dir results/carracing/rollouts --device auto")
    flags = [word for word in f"{compared} {runtime}".split() if word.startswith("--")]
    assert len(flags) == len(set(flags))


def test_text_with_braces_is_no_wildcard():
    assert params.compared("{shard}")(wildcards=None) == "{shard}"
    assert params.uncompared("{shard}")(wildcards=None, threads=1) == "{shard}"
