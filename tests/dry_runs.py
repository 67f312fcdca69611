"""Dry runs in processes forked from one that has imported Snakemake: half a second each instead of two.

Snakemake itself is the same. This module imports nothing of the workflow, which a fork must import from the copy of
the repository that it is about.
"""

import contextlib
import io
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def dry_run_here(repo: Path, cwd: Path, flags: Iterable) -> tuple[int, str]:
    """The exit code of `snakemake -n` in the folder cwd, and what it printed. It changes the calling process."""
    from snakemake.cli import main

    os.chdir(cwd)
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(["--snakefile", str(repo / "Snakefile"), "-n", "--cores", "2", *map(str, flags)])
        except SystemExit as end:
            code = end.code
    return code, said.getvalue()


def pool() -> ProcessPoolExecutor:
    """Two processes for `dry_run_here`: each is forked anew, does one task and ends."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["snakemake.cli"])
    return ProcessPoolExecutor(2, mp_context=server, max_tasks_per_child=1)
