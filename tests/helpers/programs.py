"""Run the workflow and its scripts as a user does."""

import re
import subprocess
import sys
from pathlib import Path

from helpers import forked

ROOT = Path(__file__).parents[2]
# The configuration of the smoke run that tests share, as files of the repository.
SMOKE = ("presets/smoke.yaml", "tests/samples/short_episodes.yaml")


def run_script(name: str, *flags, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess:
    """Run scripts/<name>.py with the flags that a user would give."""
    process = forked.run([str(ROOT / "scripts" / f"{name}.py"), *map(str, flags)], cwd, timeout=600)
    if check:
        assert process.returncode == 0, process.stderr
    return process


def run_snakemake(
    *flags, cwd: Path, repo: Path = ROOT, check: bool = True, fork: bool = True
) -> subprocess.CompletedProcess:
    """Run the workflow of the repository in the folder cwd.

    Args:
        fork: whether Snakemake, its jobs and their workers are forked, which is faster, or start as a user's do.
    """
    command = ["snakemake", "--snakefile", str(repo / "Snakefile"), *map(str, flags)]
    if fork:
        process = forked.run(command, cwd, timeout=900)
    else:
        command[:1] = [sys.executable, "-m", "snakemake"]
        process = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=cwd)
    if check:
        assert process.returncode == 0, process.stdout + process.stderr
    return process


def planned(output: str) -> dict[str, int]:
    """Return the number of jobs of each rule in the output of a dry run."""
    if "Job stats" not in output:
        return {}
    table = output.split("Job stats:")[-1]
    return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.M) if name != "total"}
