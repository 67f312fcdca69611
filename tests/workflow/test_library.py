"""The examples of docs/library.md run, and pip installs the library without the workflow."""

import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import worldmodels
from helpers.programs import ROOT
from worldmodels.runtime.library import PACKAGE

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs/library.md").read_text(), re.S)


def test_the_examples_run(tiny_run, tmp_path, monkeypatch):
    """One after another, as in a notebook, on the tiny run: V of 8 latents and M of 16 units."""
    (tmp_path / "results").mkdir()
    shutil.copytree(tiny_run, tmp_path / "results/carracing")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in EXAMPLES:
        exec(example, names)
    assert len(EXAMPLES) == 5
    assert names["frame"].shape == names["reconstruction"].shape == (1, 64, 64, 3)
    assert names["z"].shape == (1, 8) and names["action"].shape == (1, 3) and names["mus"].shape == (1, 5, 8)
    assert names["film"].shape == (100, 64, 64, 3) and np.isfinite(names["dreamt_return"])
    assert names["moment"].step == 49 and names["error"] > 0 and names["loss"].requires_grad


def test_import_takes_no_torch_and_no_snakemake():
    code = "import sys, worldmodels; print(*{'torch', 'numpy', 'gymnasium', 'snakemake'} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert process.stdout.strip() == "" and process.returncode == 0, process.stderr


def test_every_public_name_is_there_and_completed():
    assert set(worldmodels.__all__) <= set(dir(worldmodels))
    for name in worldmodels.__all__:
        assert getattr(worldmodels, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'worldmodels' has no attribute 'ConvVAe'"):
        worldmodels.ConvVAe  # noqa: B018


def test_the_wheel_holds_the_library(tmp_path):
    """Built with the backend of this environment, as `pip wheel` builds it in one of its own."""
    repo = tmp_path / "repo"
    shutil.copytree(PACKAGE, repo / "scripts/worldmodels", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE", *(path.name for path in ROOT.glob("requirements*.txt"))):
        shutil.copy(ROOT / file, repo)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    process = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    (wheel,) = tmp_path.glob("worldmodels-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    modules = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*.py")}
    assert held == {name for name in modules if not name.startswith("worldmodels/workflow/")}
    needed = set(re.findall(r"^Requires-Dist: ([^;\n]*)$", metadata, re.M))
    listed = (ROOT / "requirements-library.txt").read_text().splitlines()[1:]
    assert needed == set(listed) and not any("snakemake" in name for name in needed)
