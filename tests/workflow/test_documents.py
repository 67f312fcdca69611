"""Links of the documents lead somewhere, pictures are used, paths exist, and commands run.

A command is a line of code in a document, or code within a line that begins with a known program. It is dry-run, or its
flags are read by the program's own parser. A line of code that is no command belongs into a block of another language:
```text for a diagram or an output.
"""

import argparse
import ast
import hashlib
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers import forked
from helpers.documents import DOCUMENTS, Command, anchors, commands, targets
from helpers.programs import ROOT
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.library import PACKAGE
from worldmodels.runtime.packages import FORMAT, STAGES, weights_file
from worldmodels.runtime.settings import config_key, default_of, settable

by_name = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())

# Programs whose commands no test runs, and why.
UNTRIED = {
    "$EDITOR": "waits for a person",
    "cat": "shows a file that a run makes",
    "git": "needs the network",
    "pre-commit": "is installed by the reader",
    "python3.11": "makes an environment, as `make .venv/run` does",
    "squeue": "needs SLURM: tests/cluster",
    "ssh": "needs another machine",
    "tmux": "waits for a person",
    "tensorboard": "serves until it is stopped",
    "wandb": "needs an account",
}
UNTRIED_LINES = {
    "python bench/vae.py": "the changelog tells that it is gone",
    "PYTHONPATH=scripts python crop.py": "test_extending executes this program",
}
# Flags of Snakemake with which code within a line begins.
FRAGMENTS = ("--config", "--configfile", "--set-threads", "--set-resources", "--profile")


# ---- Links, pictures, paths


@by_name
def test_links_lead_somewhere(path):
    for target in targets(path):
        file, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):  # https:, mailto:
            continue
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{path.name}: {target}"
        assert linked.is_relative_to(ROOT), f"{path.name}: {target}"
        if anchor:
            assert anchor in anchors(linked), f"{path.name}: {target}"


def test_every_picture_is_shown():
    shown = {(path.parent / target).resolve() for path in DOCUMENTS for target in targets(path)}
    assert set((ROOT / "docs/images").iterdir()) <= shown


@by_name
def test_paths_exist(path):
    """What stands in backquotes and begins with a folder of the repository, the library or the document."""
    if path.name == "CHANGELOG.md":
        pytest.skip("tells of files that are gone")
    roots = [ROOT, PACKAGE, path.parent]
    made = {"results", ".venv"}  # by users
    folders = {folder.name for root in roots for folder in root.iterdir() if folder.is_dir()} - made
    for command in commands(path):
        for word in command.line.split() if command.inline else ():
            if re.fullmatch(r"[\w./-]+", word) and word.partition("/")[0] in folders and "/" in word:
                assert any((root / word).exists() for root in roots), f"{path.name}: {word}"


def test_every_mentioned_document_exists():
    patterns = ("scripts/**/*.py", "rules/**/*.smk", "report/*.rst", "tests/**/*.py", "bench/*.py", "*.md", "*/*.md")
    files = [*(file for pattern in patterns for file in ROOT.glob(pattern)), ROOT / "config.yaml", ROOT / "Makefile"]
    mentioned = {name for file in files for name in re.findall(r"\b(?:docs|bench)/\w+\.md", file.read_text())}
    assert len(mentioned) > 8
    assert [name for name in sorted(mentioned) if not (ROOT / name).exists()] == []


# ---- Commands


class ParsedError(Exception):
    """A program has read its flags."""


def check_python(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a script or a module read its flags, and end it there."""
    if words[0] == "-m":
        return check_module(words[1:], folder, monkeypatch)
    if words[0] == "-c":
        return exec(words[1], {})
    assert (folder / words[0]).is_file(), f"expected a script, found {words[0]}"
    read_flags(lambda: runpy.run_path(str(folder / words[0]), run_name="__main__"), words, monkeypatch)


def check_module(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *flags = words
    if name in CHECKERS:
        return CHECKERS[name](flags, folder, monkeypatch)
    monkeypatch.syspath_prepend(str(folder))
    assert name.startswith("bench."), "no checker knows this module"
    check_python([f"{name.replace('.', '/')}.py", *flags], folder, monkeypatch)


def read_flags(run: Callable[[], object], words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a program until it has read its flags.

    Args:
        run: runs the program in this process.
        words: its name and flags.
    """
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
    monkeypatch.setattr(sys, "argv", words)
    try:
        run()
    except ParsedError:
        return
    except SystemExit as end:
        assert "--help" in words and not end.code, f"expected flags that the program knows, found {words}"


def check_make(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.run(["make", "-n", *words], cwd=folder, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def check_pip(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("command", choices=["install"])
    parser.add_argument("-r", action="append", default=[])
    parser.add_argument("-e", action="store_true")
    parser.add_argument("--no-deps", action="store_true")
    parser.add_argument("packages", nargs="*")
    args = parser.parse_intermixed_args(words)
    assert all((folder / file).is_file() for file in args.r)
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    extras = project["tool"]["hatch"]["metadata"]["hooks"]["requirements_txt"]["optional-dependencies"]
    assert set(args.packages) <= {".", *(f".[{extra}]" for extra in extras)}


def check_pytest(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = forked.run(["-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider", *words], folder, 300)
    assert process.returncode == 0, process.stdout + process.stderr


def check_shell_script(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(words) == 1
    subprocess.run(["bash", "-n", folder / words[0]], check=True)


CHECKERS = {
    "make": check_make,
    "python": check_python,
    "python3": check_python,
    "pip": check_pip,
    "pytest": check_pytest,
    "bash": check_shell_script,
}


def split(line: str) -> list[list[str]]:
    """Return the words of each command in a line, without variables, and with programs of .venv by their names."""
    found = []
    try:
        given = [shlex.split(part) for part in line.split(" && ")]
    except ValueError:  # an apostrophe in a text
        return [line.split()]
    for words in given:
        while re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if words[0].startswith("--"):
            words.insert(0, "snakemake")
        if re.fullmatch(r"scripts/\w+\.py", words[0]):
            words.insert(0, "python")
        found.append([words[0].removeprefix(".venv/bin/"), *words[1:]])
    return found


def is_command(command: Command) -> bool:
    """Whether a line of code or a piece of code within a line is something to run, and not a name or a value."""
    if not command.inline or command.line.startswith(".venv/bin/"):
        return True
    first, _, rest = re.sub(r"^([A-Z_]+=\S+ )+", "", command.line).partition(" ")
    known = first in (*CHECKERS, *UNTRIED, *FRAGMENTS, "snakemake", "cd") or re.fullmatch(r"scripts/\w+\.py", first)
    return bool(known and rest)


# Each line once, with the first document that has it.
LINES = {c.line: c.document for path in reversed(DOCUMENTS) for c in commands(path) if is_command(c)}
CHECKED = [line for line in LINES if line not in UNTRIED_LINES and any(words[0] in CHECKERS for words in split(line))]


@by_name
def test_every_line_of_code_is_a_command_that_a_checker_knows(path):
    known = {*CHECKERS, *UNTRIED, "snakemake", "cd"}
    lines = [command.line for command in commands(path) if is_command(command)]
    unknown = [line for line in lines if line not in UNTRIED_LINES and {words[0] for words in split(line)} - known]
    assert unknown == [], "a new kind of command needs a checker; what is no command belongs into a block ```text"


@pytest.mark.parametrize("line", CHECKED)
def test_a_command_is_understood(line, monkeypatch):
    """All but those of Snakemake, which come below."""
    folder = ROOT
    for program, *words in split(line):
        if program == "cd":
            folder = folder / words[0]
        elif program in CHECKERS:
            CHECKERS[program](words, folder, monkeypatch)


@pytest.fixture
def copy(tmp_path) -> Path:
    """The parts of the repository that Snakemake reads, with the files that the documents' commands name."""
    for name in ("rules", "scripts", "presets", "envs", "report", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for preset in (tmp_path / "presets").iterdir():  # 10,000 rollouts take a dry run seconds
        preset.write_text(preset.read_text().replace("num_rollouts: 10000", "num_rollouts: 1000"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for stage in STAGES:  # of the default run
        for file in ("best.tar", "best.json"):
            (tmp_path / "results/carracing" / stage).mkdir(parents=True, exist_ok=True)
            (tmp_path / "results/carracing" / stage / file).touch()
    shutil.copytree(tmp_path / "results/carracing", tmp_path, dirs_exist_ok=True)  # a published checkpoint
    (tmp_path / "my_vae.py").write_text("class MyVAE: ...")
    (tmp_path / "FOLDER").mkdir()
    for number in range(20):
        np.savez(tmp_path / f"FOLDER/{number}.npz", rewards=np.zeros(3))
    digests = {weights_file(stage): hashlib.sha256(b"").hexdigest() for stage in STAGES}
    models = {stage: {"config": {}} for stage in STAGES} | {"vae": {"config": {"model": "ConvVAE"}}}
    env = {config_key(f): default_of(f) for f in settable(EnvConfig)}
    config = {"format": FORMAT, "env": env, "settings": {}, "models": models, "files": digests}
    with zipfile.ZipFile(tmp_path / "driver.zip", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        for name in digests:
            archive.writestr(name, b"")
    return tmp_path


def snakemake_flags() -> list[list[str]]:
    """Return the flags of each distinct dry run.

    Left out are the examples of docs/extending.md (mine.yaml) and whole presets, which test_extending and test_workflow
    run.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--cores")
    parser.add_argument("-n", action="store_true")
    parser.add_argument("--use-conda", action="store_true")  # the dry run would look for conda
    parser.add_argument("--conda-create-envs-only", action="store_true")
    parser.add_argument("--report")  # needs results
    parser.add_argument("--profile")
    found = [["--profile", "profiles/slurm"]]
    for line in LINES:
        for program, *flags in split(line):
            if program != "snakemake" or {"mine.yaml", "short.yaml"} & {*flags}:
                continue
            own = flags[: flags.index("--")] if "--" in flags else flags
            args, others = parser.parse_known_args(own)
            assert args.profile in (None, "profiles/slurm")
            assert args.report is None or args.report.endswith((".html", ".zip"))
            others += flags[len(own) :]
            is_preset = others[:1] == ["--configfile"] and len(others) == 2 and Path(others[1]).parent.name == "presets"
            if others and others not in found and not (is_preset and (ROOT / others[1]).is_file()):
                found.append(others)
    return found


@pytest.mark.parametrize("half", [0, 1])
def test_every_snakemake_command_has_a_dry_run(half, copy):
    """In two parts, so that two processes of pytest share them."""
    given = json.dumps([["--cores", "2", *flags] for flags in snakemake_flags()[half::2]])
    process = forked.run([str(ROOT / "tests/helpers/dry_runs.py"), given], copy, timeout=900)
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_page_of_the_tests_has_the_first_line_of_each_file():
    tests = ROOT / "tests"
    first = {
        path.relative_to(tests).as_posix(): ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
        for path in tests.rglob("test_*.py")
    }
    rows = re.findall(r"^\| `(\S+\.py)` \| (.*) \|$", (tests / "README.md").read_text(), re.M)
    assert dict(rows) == first, "tests/README.md: expected a row for each test file, with the first line of the file"
