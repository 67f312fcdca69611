"""The conda environments and requirements*.txt name the same versions."""

import importlib.metadata
import re

import pytest
import yaml

from helpers.programs import ROOT

CONDA_NAMES = {"gymnasium[box2d]": "gymnasium-box2d", "torch": "pytorch", "matplotlib": "matplotlib-base"}
FILES = sorted((ROOT / "envs").glob("*.yaml"))


def pinned() -> dict[str, str]:
    """Versions of requirements*.txt by conda-forge's names."""
    versions = {}
    for path in ROOT.glob("requirements*.txt"):
        for line in path.read_text().splitlines():
            if line and not line.startswith(("#", "-r")):
                name, version = line.split("==")
                versions[CONDA_NAMES.get(name, name)] = version
    return versions


def test_a_report_finds_what_it_needs():
    """Snakemake alone comes without; beside the tests' own packages nobody would notice."""
    assert "snakemake[reports]" in pinned()
    extras = importlib.metadata.metadata("snakemake").get_all("Provides-Extra")
    assert "reports" in extras


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_environment_has_the_tested_versions(path):
    content = yaml.safe_load(path.read_text())
    assert content["channels"] == ["conda-forge"]
    plain = [entry for entry in content["dependencies"] if isinstance(entry, str)]
    pip = [entry for part in content["dependencies"] if isinstance(part, dict) for entry in part["pip"]]
    assert plain[0] == "python =3.11" and ("pip" in plain) == bool(pip)
    for entry in [*plain[1:], *pip]:
        if entry != "pip":
            name, version = re.fullmatch(r"([\w-]+) ==?([\d.]+)", entry).groups()
            assert pinned()[name] == version, entry


def test_every_requirement_is_in_an_environment():
    named = {
        re.split(r" ", str(entry))[0] for path in FILES for entry in yaml.safe_load(path.read_text())["dependencies"]
    }
    needed = (ROOT / "requirements-library.txt").read_text().splitlines()
    names = {line.split("==")[0] for line in needed if "==" in line}
    assert {CONDA_NAMES.get(name, name) for name in names} <= named
