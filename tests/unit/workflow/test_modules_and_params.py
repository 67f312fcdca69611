"""Configurations of modules, and the params of rules."""

import pytest

from worldmodels.runtime.loading import load_config
from worldmodels.workflow import ablation, configuration, params


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
    config = ablation.variant_config({"evaluate": {"shards": 4}}, name, "run", "data")
    assert config.pop("shared") == shared and config.pop("inherited")
    loaded = load_config(config)
    assert (loaded.logdir, loaded.data_dir, loaded.evaluate.shards) == (f"run/ablation/{name}", "data", 1)


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
