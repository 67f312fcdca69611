"""The line that says what has changed names keys and files, and no value is cut or mistaken."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from worldmodels.runtime.config import RolloutsConfig
from worldmodels.runtime.fingerprint import CodeFile, files_fingerprint, program_files
from worldmodels.runtime.flags import flags_text
from worldmodels.runtime.library import PACKAGE
from worldmodels.runtime.loading import load_config
from worldmodels.workflow import changes, params
from worldmodels.workflow.snakemake_internals import PARAMS_CHANGED, ShortMessages

NAMES = {"'sha256:" + digit * 64 + "'": "start" for digit in "ab"}
NOWHERE = "no/code.json"


def described(before: list, now: list, names: dict = NAMES, code_file: str = NOWHERE) -> str | None:
    """Return the line for these params."""
    return changes.describe_change({repr(each) for each in before}, {repr(each) for each in now}, names, code_file)


def options(*sections: str, **values) -> str:
    config = load_config(values)
    return params.option_flags(config, *(getattr(config, section) for section in sections))


@pytest.mark.parametrize(
    "section, values, line",
    [
        ("mdrnn", {"hidden_size": 32}, "mdrnn.hidden_size: 256 -> 32"),
        ("mdrnn", {"include_reward": False}, "mdrnn.include_reward: true -> false"),
        ("mdrnn", {"num_layers": 2, "cell": "gru"}, "mdrnn.cell: lstm -> gru, mdrnn.num_layers: 1 -> 2"),
        ("ctrl", {"hidden": [4, 8]}, "ctrl.hidden: [] -> [4, 8]"),
        ("ctrl", {"extra": {"a": 'it\'s, "b" -> c'}}, r"""ctrl.extra: {} -> {"a": "it's, \"b\" -> c"}"""),
        ("env", {"id": "games, -> one:Ball-v0"}, 'env.id: CarRacing-v3 -> "games, -> one:Ball-v0"'),
        ("env", {"import": "-x; y"}, 'env.import: "" -> "-x; y"'),
        ("rollouts", {"ou_theta": 1e-3}, "rollouts.ou_theta: 0.1 -> 0.001"),
    ],
)
def test_a_value_is_named_by_its_key(section, values, line):
    assert described([options(section)], [options(section, **{section: values})]) == line


def test_the_seed_and_sections_that_share_flags():
    before, now = options("latents", "mdrnn"), options("latents", "mdrnn", seed=2, mdrnn={"learning_rate": 0.1})
    assert described([before], [now]) == "seed: 1 -> 2, mdrnn.learning_rate: 0.001 -> 0.1"


def test_values_that_appear_and_vanish_are_said_to():
    before, now = options("rollouts"), options("rollouts", rollouts={"policy": "random"})
    line = described([before], [now])
    assert "rollouts.policy: mixture -> random" in line and "rollouts.ou_theta: 0.1 (gone)" in line
    assert "rollouts.ou_theta: 0.1 (new)" in described([now], [before])


def test_texts_of_rollouts_and_settings_have_keys_too():
    few, more = (flags_text(RolloutsConfig(num_rollouts=n), ["num_rollouts", "shard_size"]) for n in (8, 12))
    assert described([few], [more]) == "rollouts.num_rollouts: 8 -> 12"
    assert described([], [few]) == "rollouts.num_rollouts: 8 (new), rollouts.shard_size: 16 (new)"
    before, now = (params.shown_settings(load_config({"mdrnn": {"hidden_size": size}})) for size in (8, 9))
    assert described([before], [now]) == "mdrnn.hidden_size: 8 -> 9"


def test_other_params_are_named_and_long_digests_cut():
    first, second = (f"sha256:{digit * 64}" for digit in "ab")
    assert described([first], [second]) == "start: sha256:aaaaaaaa... -> sha256:bbbbbbbb..."
    assert described([""], [second]) == "start: sha256:bbbbbbbb... (new)"
    assert described([first], []) == "start: sha256:aaaaaaaa... (gone)"
    files = [f"{i}.tsv" for i in range(9)]
    assert described([files[:1]], [files[:2]]) == "1.tsv (new)"
    assert described([files[:1]], [files]) == "1.tsv (new), 2.tsv (new), ..., 8.tsv (new) (8 files)"


@pytest.mark.parametrize(
    "before, now",
    [
        (["words"], ["others"]), ([1], [2]), (["--a"], ["--a 1"]), (["--a '"], []), (["{"], ["{}"]), ([], []),
        (["{\"vae\": 1}"], []), (["--a 1", "--a 2"], ["--a 3"]), (["0" * 16], ["1" * 16]), (["0" * 16], []),
    ],
)  # fmt: skip
def test_what_is_not_understood_has_no_line(before, now):
    assert described(before, now) is None
    assert changes.describe_change({"no Python"}, set(), {}, NOWHERE) is None


# ---- Code


@pytest.fixture
def programs(monkeypatch) -> None:
    """No program of a workflow is known."""
    monkeypatch.setattr(changes, "PROGRAMS", {})


def remember(*files: tuple[str, str], name: str = "train_vae.py") -> str:
    """Remember a program with the code of these files, and return its fingerprint."""
    code = [CodeFile(name, Path("/x", name.replace(" ", "/")), digest) for name, digest in files]
    changes.remember_program(name, files_fingerprint(code), code)
    return files_fingerprint(code)


def test_changed_code_names_its_files(programs, tmp_path):
    code_file = str(tmp_path / "logs/code.json")
    before = remember(("train_vae.py", "1"), ("worldmodels/models/vae.py", "2"), ("my_vae my_vae/my_vae.py", "3"))
    changes.save_programs(code_file)
    changes.PROGRAMS.clear()
    now = remember(("train_vae.py", "1"), ("worldmodels/models/vae.py", "9"), ("my_vae my_vae/net.py", "3"))
    line = "my_vae/my_vae.py (gone), my_vae/net.py (new), scripts/worldmodels/models/vae.py"
    assert described([before], [now], code_file=code_file) == f"code: {line}"
    assert described([before], [now]) == "code of train_vae.py"
    assert described(["0" * 16], [now], code_file=code_file) == "code of train_vae.py"
    more = described(["--seed 1", before], ["--seed 2", now], code_file=code_file)
    assert more == f"seed: 1 -> 2; code: {line}"


def test_a_path_depends_on_no_place(programs, tmp_path):
    assert changes.shown_path(CodeFile("ball ball/ball.py", tmp_path / "ball.py", "")) == "ball.py"
    assert changes.shown_path(CodeFile("games games/ball.py", tmp_path / "games/ball.py", "")) == "games/ball.py"
    library = "worldmodels/models/vae.py"
    path = PACKAGE.parent / library
    assert changes.shown_path(CodeFile(library, path, "")) == f"scripts/{library}"
    assert changes.shown_path(CodeFile(f"my_vae {library}", path, "")) == f"scripts/{library}"


def test_a_workflow_remembers_its_programs(programs):
    script = PACKAGE.parent / "train_vae.py"
    fingerprint = params.code_fingerprint.__wrapped__(script)
    name, digests = changes.PROGRAMS[fingerprint]
    assert name == "train_vae.py" and {"scripts/train_vae.py", "scripts/worldmodels/models/vae.py"} <= digests.keys()
    assert len(digests) == len(program_files(script))


def test_a_code_json_keeps_the_last_programs(programs, tmp_path, monkeypatch):
    monkeypatch.setattr(changes, "MOST_PROGRAMS", 2)
    code_file, seen = tmp_path / "code.json", []
    for digest in "1213":
        changes.PROGRAMS.clear()
        seen.append(remember(("train_vae.py", digest)))
        changes.save_programs(str(code_file))
    assert list(json.loads(code_file.read_text())) == [seen[0], seen[3]] and [*tmp_path.iterdir()] == [code_file]
    for damaged in ("{", "[]", "1"):
        code_file.write_text(damaged)
        changes.save_programs(str(code_file))
        assert list(json.loads(code_file.read_text())) == [seen[3]]
    changes.save_programs(f"{code_file}/no/folder.json")


# ---- Snakemake's reason


class Change(SimpleNamespace):
    """A change of params as Snakemake has it."""

    def __str__(self) -> str:
        return f"before: {','.join(self.only_old)} now: {','.join(self.only_new)} "


@pytest.mark.parametrize("value, line", [("'--seed 1'", "seed: 2 -> 1"), ("5", None)])
def test_the_other_parts_of_a_reason_stay(value, line):
    change = Change(only_old={"'--seed 2'"}, only_new={value})
    job = SimpleNamespace(output=["run/eval.json"], params={})
    dag = SimpleNamespace(jobs=[job], jobid=lambda job: 7, reason=lambda job: SimpleNamespace(params_changed=change))
    messages = ShortMessages(SimpleNamespace(dag=dag), NOWHERE)
    reason = f"Set of input files has changed; {PARAMS_CHANGED}{change}; Software has changed"
    record = SimpleNamespace(reason=reason, jobid=7)
    expected = f"Set of input files has changed; {line}; Software has changed" if line else reason
    assert messages.shorten_reason(record) == expected
