"""profiles/slurm/recover.sh cancels exactly the jobs of the working directory before it frees Snakemake's lock."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.programs import ROOT

# The queue is a folder with a file for each job, which holds its name and, in a second line, its working directory.
SQUEUE = """
for job in "$QUEUE"/*; do
  [ -e "$job" ] || continue
  { IFS= read -r name; IFS= read -r folder; } < "$job"
  line="${@: -1}" line="${line//%A/$(basename "$job")}" line="${line//%j/"$name"}"
  printf '%s\\n' "${line//%Z/"$folder"}"
done
"""
COMMANDS = {
    "squeue": SQUEUE,
    "scancel": 'cd "$QUEUE" && echo "$@" > ../cancelled && rm "$@"',
    "snakemake": 'ls "$QUEUE" > "$QUEUE/../unlocked"',
}
FOLDERS = ["plain", "two  spaces ", "a|b", "wm_x|y", 'it\'s "quoted"', "Ünïcode", "$(touch broken)", "*", "\\n -x"]


@pytest.fixture
def recover(tmp_path):
    """A copy of recover.sh, and commands in place of SLURM's and Snakemake's: recover(folder) runs it there."""
    script = tmp_path / "my repo/profiles/slurm/recover.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "profiles/slurm/recover.sh", script)
    (tmp_path / "bin").mkdir()
    (tmp_path / "queue").mkdir()
    for name, body in COMMANDS.items():
        replace_command(tmp_path, name, body)
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "QUEUE": str(tmp_path / "queue")}

    def run(folder: Path) -> subprocess.CompletedProcess:
        return subprocess.run([str(script)], cwd=folder, capture_output=True, text=True, env=environment, timeout=20)

    return run


def replace_command(root: Path, name: str, body: str) -> None:
    path = root / "bin" / name
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(0o755)


def submit(root: Path, job: int, name: str, folder: Path) -> None:
    (root / "queue" / str(job)).write_text(f"{name}\n{folder}\n")


@pytest.mark.parametrize("name", FOLDERS)
def test_the_jobs_of_a_folder_of_any_name_are_cancelled_and_no_others(name, recover, tmp_path):
    work = tmp_path / "runs" / name
    work.mkdir(parents=True)
    submit(tmp_path, 11, "wm_1234", work)
    submit(tmp_path, 12, "wm_1234", work)
    submit(tmp_path, 13, "another", work)
    submit(tmp_path, 14, "wm_5678", work.parent)
    submit(tmp_path, 15, "wm_5678", work / "inside")
    process = recover(work)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "cancelled").read_text() == "11 12\n"
    assert (tmp_path / "unlocked").read_text().split() == ["13", "14", "15"]
    assert not (work / "broken").exists()


def test_without_jobs_the_lock_is_freed(recover, tmp_path):
    assert recover(tmp_path).returncode == 0
    assert (tmp_path / "unlocked").exists() and not (tmp_path / "cancelled").exists()


@pytest.mark.parametrize(
    "command, body, message",
    [
        ("squeue", "exit 1", "squeue failed"),
        ("squeue", f"{SQUEUE}exit 1", "squeue failed"),
        ("squeue", f'[ ! -e "$QUEUE/../cancelled" ] || exit 1{SQUEUE}', "squeue failed"),  # after scancel
        ("scancel", "exit 1", "scancel failed for 11"),
    ],
)
def test_the_lock_stays_where_jobs_may_be_left(command, body, message, recover, tmp_path):
    submit(tmp_path, 11, "wm_1", tmp_path)
    replace_command(tmp_path, command, body)
    process = recover(tmp_path)
    assert process.returncode == 1 and not (tmp_path / "unlocked").exists()
    assert message in process.stderr and process.stderr.strip().endswith("the lock is not freed")


def test_a_job_that_ends_while_it_is_cancelled_is_no_failure(recover, tmp_path):
    submit(tmp_path, 11, "wm_1", tmp_path)
    replace_command(tmp_path, "scancel", f"{COMMANDS['scancel']}; exit 1")
    assert recover(tmp_path).returncode == 0 and (tmp_path / "unlocked").exists()


def test_a_folder_whose_name_has_two_lines_is_refused(recover, tmp_path):
    (tmp_path / "two\nlines").mkdir()
    process = recover(tmp_path / "two\nlines")
    assert process.returncode == 1 and not (tmp_path / "unlocked").exists()
    assert "expected a folder whose name is one line" in process.stderr
