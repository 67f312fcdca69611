"""Dry-run many commands of Snakemake in a few seconds: a process loads Snakemake, and forks for each command.

    dry_runs.py COMMANDS

COMMANDS is a JSON list of lists of flags. The program prints the output of each command that fails. Start it in a copy
of the repository. The forked processes share the syntax trees of the library's modules, whose fingerprints take long.
"""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path


def main() -> None:
    sys.path.insert(0, "scripts")
    from worldmodels.runtime.fingerprint import program_fingerprint

    for script in sorted(Path("scripts").glob("*.py")):
        program_fingerprint(script)
    failed = [command for command in json.loads(sys.argv[1]) if not succeeds(command)]
    sys.exit(1 if failed else 0)


def succeeds(command: list[str]) -> bool:
    """Dry-run Snakemake in a forked process, and return whether it succeeds."""
    with tempfile.TemporaryFile() as output:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            run(["--dry-run", *command])
        succeeded = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        if not succeeded:
            output.seek(0)
            print(f"snakemake {command}", output.read().decode(errors="replace"), sep="\n", flush=True)
        return succeeded


def run(command: list[str]) -> None:
    """Run Snakemake and end this process."""
    from snakemake.cli import main as snakemake

    code = 1
    try:
        snakemake(command)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        if isinstance(end.code, str):
            print(end.code)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
