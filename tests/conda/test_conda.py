"""`--use-conda` works with a real conda client. Its conda-forge is a local channel made from PyPI's packages."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.programs import ROOT

HERE = Path(__file__).parent
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
# The smoke preset with fewer steps: every rule runs.
RUN = [
    "--cores", "2", "--snakefile", ROOT / "Snakefile", "--configfile", ROOT / "presets/smoke.yaml", "--config",
    "env={max_episode_steps: 200}",
    "vae={num_epochs: 1, images_per_epoch: 256, sample_interval: 1}",
    "mdrnn={num_epochs: 1}",
    "ctrl={num_generations: 2, time_limit: 50}",
]  # fmt: skip


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen, Path]]:
    """Start the run without conda in the background. Return its process and folder."""
    folder = tmp_path_factory.mktemp("local")
    command = [str(part) for part in (sys.executable, "-m", "snakemake", *RUN)]
    with open(folder / "output.txt", "w") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    yield process, folder
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def conda(local: tuple[subprocess.Popen, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root prefix of a conda client that knows the local channel. The local run goes on meanwhile."""
    folder = tmp_path_factory.mktemp("conda")
    root, channels = folder / "root", folder / "channels"
    subprocess.run([sys.base_prefix + "/bin/python3", HERE / "make_conda.py", root, channels], check=True)
    make = [root / "bin/python", HERE / "make_channel.py", channels / "conda-forge", *ENVIRONMENTS, "torch==2.13.0"]
    subprocess.run(make, check=True)
    return root


def snakemake(conda: Path, cwd: Path, *flags: str) -> subprocess.CompletedProcess:
    """Run the users' command line where conda is all that PATH has before the system's programs."""
    home = conda.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "PATH": f"{conda}/condabin:/usr/bin:/bin", "HOME": str(home)}
    # Without bytecode each program of a new environment would compile torch again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "snakemake", "--conda-prefix", conda.parent / "envs", *flags, *RUN]
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=1500
    )


@pytest.fixture(scope="module")
def run(conda: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the run through --use-conda."""
    folder = tmp_path_factory.mktemp("run")
    process = snakemake(conda, folder, "--use-conda", "--printshellcmds")
    (folder / "output.txt").write_text(process.stdout + process.stderr)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder


def test_the_rules_run_inside_their_environments(conda: Path, run: Path):
    output = (run / "output.txt").read_text()
    for name in ("train", "play", "plot"):
        assert f"envs/{name}.yaml created" in output.replace(str(ROOT) + "/", "").replace("../", ""), output[-3000:]
    prefixes = {path.stem for path in (conda.parent / "envs").glob("*.yaml")}
    assert len(prefixes) == 3
    commands = [line.split() for line in output.splitlines() if "/scripts/" in line and "--logdir" in line]
    assert len(commands) == 14 and all("python" in line and sys.executable not in line for line in commands)
    contents = {}
    for prefix in prefixes:
        listed = subprocess.run(
            [conda / "bin/conda", "list", "--json", "--prefix", conda.parent / "envs" / prefix],
            capture_output=True, text=True, check=True, env={**os.environ, "HOME": str(conda.parent / "home")},
        )  # fmt: skip
        contents[prefix] = {package["name"]: package["version"] for package in json.loads(listed.stdout)}
        print(prefix, " ".join(f"{name}={version}" for name, version in sorted(contents[prefix].items())))
    assert all(packages["pytorch"] == "2.13.0" for packages in contents.values())
    special = [{"gymnasium", "matplotlib-base"} & set(packages) for packages in contents.values()]
    assert sorted(map(sorted, special)) == [[], ["gymnasium"], ["matplotlib-base"]]


def test_the_run_scores_the_same_as_without_conda(run: Path, local: tuple[subprocess.Popen, Path]):
    process, folder = local
    assert process.wait(900) == 0, (folder / "output.txt").read_text()
    with_conda, without = (json.loads((path / "results/smoke/eval.json").read_text()) for path in (run, folder))
    assert with_conda == without


def test_every_stage_writes_its_curves(run: Path):
    stages = {path.parent.name for path in (run / "results/smoke/tensorboard").glob("*/events.out.tfevents.*")}
    assert stages == {"vae", "mdrnn", "ctrl", "evaluate", "score"}


@pytest.mark.parametrize("flags", [["--use-conda"], []])
def test_nothing_is_stale_with_conda_or_without(conda: Path, run: Path, flags: list[str]):
    process = snakemake(conda, run, "-n", *flags)
    assert "Nothing to be done" in process.stdout + process.stderr, process.stdout + process.stderr
