"""A user's own code is found in the working directory, and each job that runs it depends on it."""

import json
import re
import shutil
from pathlib import Path

import pytest

from helpers.programs import ROOT, run_snakemake

CONFIG = """
env: {id: 'games.my_env:Ball-v0', import: more, height: 32, width: 32}
rollouts: {num_rollouts: 1, shard_size: 1, policy: agent, agent: earlier}
vae: {model: 'my_vae:V', num_test_files: 0}
mdrnn: {num_test_files: 0}
"""
ENV_RULES = {"collect_agent_rollouts", "train_controller", "evaluate", "dream", "replay_episodes"}
V_RULES = {
    "train_vae", "encode_latents", "train_mdrnn", "train_controller", "evaluate", "plot_vae", "plot_mdrnn", "dream",
    "replay_episodes",
}  # fmt: skip
# The rules whose code an edit of a file changes.
COUNTS = {
    "games/my_env.py": ENV_RULES,
    "more.py": ENV_RULES,
    "my_vae.py": V_RULES,
    "earlier_vae.py": {"collect_agent_rollouts"},
}


@pytest.fixture
def configured(tmp_path) -> Path:
    """A folder with code of one's own for all that can be plugged in, and an earlier run."""
    folder = tmp_path
    (folder / "games").mkdir()
    shutil.copy(ROOT / "tests/samples/own/my_env.py", folder / "games")
    for name in ("more.py", "my_vae.py", "earlier_vae.py"):
        (folder / name).write_text("X = 1\n")
    (folder / "mine.yaml").write_text(CONFIG)
    for stage in ("vae", "mdrnn", "ctrl"):
        (folder / "earlier" / stage).mkdir(parents=True)
        (folder / "earlier" / stage / "best.tar").touch()
        (folder / "earlier" / stage / "best.json").write_text(json.dumps({"model": "earlier_vae:V"}))
    return folder


@pytest.fixture
def finished(configured) -> Path:
    """What looks like a finished run."""
    summary = run_snakemake("--summary", "--cores", 1, "--configfile", "mine.yaml", cwd=configured).stdout
    for file in (line.split("\t")[0] for line in summary.splitlines() if line.startswith("results")):
        (configured / file).parent.mkdir(parents=True, exist_ok=True)
        (configured / file).touch()
    return configured


def recorded_code(folder: Path) -> dict[str, set[str]]:
    """The fingerprints that Snakemake records for each rule's files."""
    run_snakemake("--touch", "--forceall", "--cores", 1, "--configfile", "mine.yaml", cwd=folder)
    records = [json.loads(path.read_text()) for path in (folder / ".snakemake/metadata").rglob("*") if path.is_file()]
    prints = {record["rule"]: set(re.findall(r"'([0-9a-f]{16})'", str(record["params"]))) for record in records}
    return {rule: params for rule, params in prints.items() if params}


def test_every_job_that_runs_own_code_depends_on_it(finished):
    before = recorded_code(finished)
    assert all(len(prints) == 1 for prints in before.values()) and len(before) >= 13
    for file, rules in COUNTS.items():
        text = (finished / file).read_text()
        (finished / file).write_text(f"{text}\nY = 2\n")
        after = recorded_code(finished)
        assert {rule for rule in after if after[rule] != before[rule]} == rules, file
        (finished / file).write_text(text)


def test_an_earlier_run_that_does_not_name_its_network_is_named(configured):
    (configured / "earlier/vae/best.json").write_text("{}")
    result = run_snakemake("-n", "--cores", 1, "--configfile", "mine.yaml", cwd=configured)
    assert "config: rollouts.agent: earlier/vae/best.json does not name V's network" in result.stderr


def test_a_module_that_only_the_programs_environment_may_have_is_named(tmp_path):
    flags = ["--sdm", "env-modules", "--config", "env={id: Ball-v0, import: games.ball}"]
    result = run_snakemake("-n", "--cores", 1, *flags, cwd=tmp_path)
    assert "config: env.import: no source of 'games.ball' is found here, so an edit of it makes" in result.stderr


def test_a_trained_v_names_its_network(tiny_run):
    assert json.loads((tiny_run / "vae/best.json").read_text())["model"] == "ConvVAE"
