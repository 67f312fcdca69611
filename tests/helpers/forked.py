"""Programs in processes forked from one that has imported torch and Snakemake: that saves each about two seconds.

This module imports nothing of the workflow, since a dry run takes it from the copy of the repository that it is about.
"""

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch", "gymnasium", "snakemake.cli"])


def run(command: list[str], cwd: Path | str | None, timeout: float) -> subprocess.CompletedProcess:
    """What subprocess.run gives of `command`: "snakemake" or the path of a script, and its flags."""
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("stdout", "stderr")]
        process = SERVER.Process(target=become, args=(command, str(cwd or os.getcwd()), dict(os.environ), files))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, timeout)
        said = (Path(file).read_text(encoding="utf-8", errors="replace") for file in files)
        return subprocess.CompletedProcess(command, process.exitcode, *said)


def become(command: list[str], cwd: str, environment: dict[str, str], files: list[str]) -> None:
    """Be this program, in this process."""
    gc.freeze()  # what the server imported is no garbage: looking at it would copy its memory
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = command
    if command[0] == "snakemake":
        from snakemake.cli import main

        main(command[1:])
    else:
        paths = [path for path in sys.path if not Path(path or ".").resolve().is_relative_to(ROOT / "tests")]
        more = environment.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:] = [str(Path(command[0]).parent), *filter(None, more), *paths]
        runpy.run_path(command[0], run_name="__main__")
