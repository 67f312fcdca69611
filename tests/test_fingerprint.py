"""The code's fingerprint: blind to what cannot change a result, awake to everything else."""

import shutil

import pytest
from conftest import ROOT

from worldmodels import fingerprint as module


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "scripts/worldmodels")
    return tmp_path / "scripts"


def prints(scripts) -> dict[str, str]:
    module.imported.cache_clear()
    module.bare.cache_clear()
    return {path.stem: module.fingerprint(path) for path in scripts.glob("*.py")}


def changed(scripts, file, old, new) -> set[str]:
    """The scripts whose fingerprint an edit changes."""
    before = prints(scripts)
    path = scripts / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    after = prints(scripts)
    return {name for name in before if before[name] != after[name]}


COLLECT = {"collect_rollouts", "collect_agent_rollouts"}
TRAINED = {"train_mdrnn", "train_controller", "evaluate", "collect_agent_rollouts"}
DREAMT = {"plot_mdrnn", "dream", "replay_episodes"}


def test_comments_docstrings_and_layout_do_not_count(scripts):
    assert changed(scripts, "worldmodels/vae.py", "import torch\n", "import torch  # a comment\n\n\n") == set()
    assert changed(scripts, "worldmodels/vae.py", '"""Latents (B', '"""Codes (B') == set()
    assert changed(scripts, "train_vae.py", '"""Train V', '"""Teach V') == set()
    assert changed(scripts, "worldmodels/vae.py", "self.fc(z)", "(\n            self.fc(z)\n        )") == set()


def test_code_counts_where_it_is_used(scripts):
    assert changed(scripts, "train_vae.py", "def main", "X = 1\n\n\ndef main") == {"train_vae"}
    assert changed(scripts, "worldmodels/evaluation.py", "WIDTH = 8", "WIDTH = 9") == {"evaluate", "replay_episodes"}
    assert changed(scripts, "worldmodels/mdrnn_training.py", "alpha=0.9", "alpha=0.8") == {"train_mdrnn"}
    assert changed(scripts, "worldmodels/mdrnn.py", "0.5 * distance", "0.6 * distance") == TRAINED | DREAMT
    assert changed(scripts, "worldmodels/vae.py", "0.5 *", "0.4 *") == {
        "train_vae", "encode_latents", "plot_vae", *TRAINED, *DREAMT,
    }  # fmt: skip
    assert changed(scripts, "worldmodels/rollouts.py", "0.5 * sigma", "0.6 * sigma") == COLLECT


def test_modules_imported_indirectly_count(scripts):
    assert changed(scripts, "worldmodels/checkpoint.py", "compresslevel=1", "compresslevel=2") == set(prints(scripts))


def test_knobs_reach_the_programs_as_flags_and_do_not_count(scripts):
    assert changed(scripts, "worldmodels/config.py", "option(32,", "option(33,") == set()
