"""A switch takes a word or none, and --help shows the type of every flag."""

import argparse
import re

import pytest

from worldmodels.runtime.config import SECTIONS, EnvConfig, RolloutsConfig, RunConfig, WMControllerConfig, WMVAEConfig
from worldmodels.runtime.flags import add_flags, section_from_args
from worldmodels.runtime.program import as_sentences, make_parser


@pytest.mark.parametrize(
    "line, value",
    [
        ([], True),
        (["--compress"], True),
        (["--compress", "true"], True),
        (["--compress", "false"], False),
        (["--no-compress"], False),
        (["--no-compress", "--compress"], True),  # the last one counts
    ],
)
def test_a_switch_takes_a_word_or_none(line, value):
    parser = argparse.ArgumentParser()
    add_flags(parser, RolloutsConfig)
    assert section_from_args(parser.parse_args(line), RolloutsConfig).compress is value


@pytest.mark.parametrize(
    "line, message",
    [
        (["--compress", "yes"], "argument --compress/--no-compress: expected bool, found 'yes'"),
        (["--no-compress", "false"], "argument --no-compress: expected no value, found false"),
        (["--no-shard-size"], "unrecognized arguments: --no-shard-size"),
    ],
)
def test_a_wrong_switch_is_named(line, message, capsys):
    parser = argparse.ArgumentParser()
    add_flags(parser, RolloutsConfig)
    with pytest.raises(SystemExit):
        parser.parse_args(line)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "cls, shown",
    [
        (RunConfig, ["--seed INT", "--logdir DIR", "--device DEVICE", "--tensorboard, --no-tensorboard"]),
        (EnvConfig, ["--env-id ID", "--env-crop INT-LIST", "--env-grey, --no-env-grey", "--env-kwargs JSON"]),
        (RolloutsConfig, ["--source DIR", "--agent PATH", "--ou-mean FLOAT-LIST", "--source-frames before|after"]),
        (WMVAEConfig, ["--latent-size INT", "--beta FLOAT", "--noreload ", "--start PATH"]),
        (WMControllerConfig, ["--sigma0 FLOAT", "--pop-size INT", "--squash TEXT-LIST"]),
    ],
)
def test_help_shows_the_types(cls, shown):
    text = make_parser("A program.", *([cls] if cls is not RunConfig else [])).format_help()
    assert not [flag for flag in shown if not re.search(f"^  {re.escape(flag)}", text, re.M)]
    assert "--no-noreload" not in text


@pytest.mark.parametrize("cls", SECTIONS.values(), ids=SECTIONS)
def test_help_of_every_section_can_be_shown(cls):
    assert make_parser("A program.", cls).format_help().startswith("usage: ")


@pytest.mark.parametrize(
    "text, sentences",
    [
        ("collect only this shard", "Collect only this shard."),
        ("folder to write (default: <logdir>/package)", "Folder to write. Default: <logdir>/package"),
        ("most steps; 0: all (default: %(default)s)", "Most steps; 0: all. Default: %(default)s"),
        ("eval.json of each run", "eval.json of each run."),
        ("summaries (.json)", "Summaries (.json)."),
        ("Seed of the run. Default: 1", "Seed of the run. Default: 1"),
    ],
)
def test_texts_of_flags_become_sentences(text, sentences):
    assert as_sentences(text) == sentences
