"""--use-conda with a real conda client, whose conda-forge is a local channel made from PyPI's packages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.programs import ROOT

HERE = Path(__file__).parent
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


@pytest.fixture(scope="module")
def conda(tmp_path_factory) -> Path:
    """The root prefix of a conda client that knows the local channel."""
    folder = tmp_path_factory.mktemp("conda")
    root, channels = folder / "root", folder / "channels"
    subprocess.run([sys.base_prefix + "/bin/python3", HERE / "make_conda.py", root, channels], check=True)
    make = [root / "bin/python", HERE / "make_channel.py", channels / "conda-forge", *ENVIRONMENTS, "torch==2.13.0"]
    subprocess.run(make, check=True)
    return root


def snakemake(conda: Path, cwd: Path, *flags) -> subprocess.CompletedProcess:
    """The users' command line with --use-conda, where conda is all that PATH has before the system's programs."""
    home = conda.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "PATH": f"{conda}/condabin:/usr/bin:/bin", "HOME": str(home)}
    start = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile"]
    command = [*start, ROOT / "presets/smoke.yaml", "--conda-prefix", conda.parent / "envs", *flags]
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=1500
    )


@pytest.fixture(scope="module")
def run(conda, tmp_path_factory) -> Path:
    """The smoke preset through --use-conda."""
    folder = tmp_path_factory.mktemp("run")
    done = snakemake(conda, folder, "--cores", 2, "--use-conda", "--printshellcmds")
    (folder / "said.txt").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_rules_ran_inside_their_environments(conda, run):
    said = (run / "said.txt").read_text()
    for name in ("train", "play", "plot"):
        assert f"envs/{name}.yaml created" in said.replace(str(ROOT) + "/", "").replace("../", ""), said[-3000:]
    made = {path.stem for path in (conda.parent / "envs").glob("*.yaml")}
    assert len(made) == 3
    commands = [line.split() for line in said.splitlines() if "/scripts/" in line and "--logdir" in line]
    assert len(commands) == 14 and all("python" in line and sys.executable not in line for line in commands)
    contents = {}
    for prefix in made:
        listed = subprocess.run(
            [conda / "bin/conda", "list", "--json", "--prefix", conda.parent / "envs" / prefix],
            capture_output=True, text=True, check=True, env={**os.environ, "HOME": str(conda.parent / "home")},
        )  # fmt: skip
        contents[prefix] = {package["name"]: package["version"] for package in json.loads(listed.stdout)}
        print(prefix, " ".join(f"{name}={version}" for name, version in sorted(contents[prefix].items())))
    assert all(packages["pytorch"] == "2.13.0" for packages in contents.values())
    special = [{"gymnasium", "matplotlib-base"} & set(packages) for packages in contents.values()]
    assert sorted(map(sorted, special)) == [[], ["gymnasium"], ["matplotlib-base"]]


def test_it_scores_the_same_as_without_conda(run, smoke):
    one, other = (json.loads((folder / "results/smoke/eval.json").read_text()) for folder in (run, smoke))
    assert one == other


def test_nothing_is_stale_with_conda_or_without(conda, run):
    for flags in (["--use-conda"], []):
        done = snakemake(conda, run, "-n", "--cores", 2, *flags)
        assert "Nothing to be done" in done.stdout + done.stderr, done.stdout + done.stderr
