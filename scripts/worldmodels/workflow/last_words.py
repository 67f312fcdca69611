"""What Snakemake ends with: the scores of a run, or the errors of its jobs in one line each."""

import atexit
import json
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from worldmodels.runtime import locks
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.score_text import score_text


def claim_folders(folders: Iterable[str]) -> None:
    """Claim the folders that this Snakemake writes to, until it ends. A second Snakemake stops here.

    Snakemake itself locks only what is written from the same working directory. Before a job begins and after it
    failed, it deletes the job's output, even where another Snakemake makes it.
    """
    atexit.register(locks.release)
    for folder in folders:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            locks.claim(folder, "run", "Snakemake")
        except OSError as error:
            sys.exit(f"error: {locks.unwritable(folder, error)}")
        except UserError as error:
            sys.exit(f"error: {error}")


def report_score(logdir: str, runs: Iterable[str], seeds: list[int], files: set[Path]) -> None:
    """Print the scores of the tests among the requested files, and the command that shows the whole run.

    Args:
        logdir: of the workflow.
        runs: the folder of each run.
        seeds: of a sweep; [] for none.
        files: the requested files. Those that exist are up to date.
    """
    existing = {path for path in files if path.name in ("eval.json", "seeds.json") and path.exists()}
    tests = [path for path in (Path(folder, "eval.json") for folder in runs) if path in existing]
    for path in tests:
        print_score(path, "episodes")
    comparison = Path(logdir, "seeds.json")
    if comparison in existing:
        print_score(comparison, "runs")
    if not tests or seeds:  # A sweep has no report.
        return
    print(f"to look at it: {report_command(logdir)}", file=sys.stderr)


def print_score(path: Path, counted: str) -> None:
    """Print the mean and, if there is one, the standard deviation in a summary.

    Args:
        counted: the summary's key with what the mean is over, a number or a list.
    """
    result = json.loads(path.read_text(encoding="utf-8"))
    over = result[counted]
    number = over if isinstance(over, int) else len(over)
    score = score_text(result["mean"], result["std"])
    print(f"score: {score} over {number} {counted}, {path}", file=sys.stderr)


def report_command(logdir: str) -> str:
    """Return the command that writes this run's report."""
    is_on_path = shutil.which("snakemake") or Path(sys.argv[0]).name != "snakemake"
    program = "snakemake" if is_on_path else sys.argv[0]  # as .venv/bin/snakemake
    # --report goes ahead of the other flags, which may end in targets.
    return shlex.join([program, "--report", f"{logdir}/report.html", *sys.argv[1:]])


def report_errors(logdir: str, runs: Iterable[str], started: float) -> None:
    """Print the last error of each log that was written since the start.

    Args:
        logdir: of the workflow.
        runs: the folder of each run.
        started: when this Snakemake started, seconds since the epoch.
    """
    for folder in folders_with_logs(logdir, runs):
        name = "".join(f"{part} " for part in Path(folder).relative_to(logdir).parts)
        for path in sorted(Path(folder, "logs").glob("*.log")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            errors = [line.split("error: ", 1)[1] for line in lines if " error: " in line]
            if errors and path.stat().st_mtime >= started:
                print(f"{name}{path.stem}: {errors[-1]}", file=sys.stderr)


def folders_with_logs(logdir: str, runs: Iterable[str]) -> list[str]:
    """Return the folders of a workflow that may have logs: its own, its runs and seeds, and their variants."""
    folders = {logdir: None}  # in this order
    for run in runs:
        folders |= dict.fromkeys(str(path) for path in [Path(run).parent, Path(run)] if path.is_relative_to(logdir))
    kinds = [Path(folder, kind) for folder in folders for kind in ("ablation", "temperatures")]
    return [*folders, *(str(variant) for kind in kinds for variant in sorted(kind.glob("*/")))]
