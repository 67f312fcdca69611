"""The smoke preset on the cluster, with a budget of seconds."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.programs import ROOT

PRESET = ["--configfile", ROOT / "presets/smoke.yaml"]
# The search is long enough to be cut in the middle. It has the same length every time.
BUDGET = {
    "env": "max_episode_steps: 200",
    "vae": "num_epochs: 1, images_per_epoch: 256",
    "mdrnn": "num_epochs: 1",
    "ctrl": "num_generations: 10, stall_limit: 0, time_limit: 100",
    "evaluate": "shards: 2",
}
# All nodes share two cores.
STAGES = ("train_vae", "encode_latents", "train_mdrnn", "train_controller", "evaluate_shard")
# A site would wait longer.
WAITS = ["--latency-wait", "5", "--slurm-init-seconds-before-status-checks", "1"]

# Files that the tests ask for.
MODELS = "results/smoke/mdrnn/best.json"
CONTROLLER = "results/smoke/ctrl/best.json"
TEST = "results/smoke/eval.json"
LOGS = "results/smoke/logs"


def config(controller: str = "") -> list[str]:
    """Return the flags of the budget.

    Args:
        controller: More keys of the section `ctrl`, as YAML.
    """
    keys = {**BUDGET, "ctrl": ", ".join(filter(None, (BUDGET["ctrl"], controller)))}
    return ["--config", *(f"{section}={{{values}}}" for section, values in keys.items())]


def cluster_command(target: str, *flags: str, controller: str = "") -> list[str]:
    """Return the users' command line for the cluster.

    The program is polling.py: Snakemake that looks at the queue every second.
    """
    program = [sys.executable, Path(__file__).with_name("polling.py"), "--snakefile", ROOT / "Snakefile"]
    profile = ["--profile", ROOT / "profiles/slurm", *PRESET, *WAITS]
    threads = ["--set-threads", *(f"{rule}=2" for rule in STAGES)]
    return [str(part) for part in (*program, *profile, *threads, *flags, *config(controller), "--", target)]


def local_command(target: str) -> list[str]:
    """Return the users' command line for this machine without the cluster."""
    program = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    return [str(part) for part in (*program, "--cores", 2, *PRESET, *config(), "--", target)]


def run(command: Sequence[str], folder: Path) -> None:
    """Run a command in a folder to its end, which must be a success."""
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stdout + process.stderr
