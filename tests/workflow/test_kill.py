"""Every stage, stopped at random moments again and again, ends with the bits of an undisturbed run.

Kills a stage WORLDMODELS_KILLS times (default 2): SIGTERM, which saves within the step, and SIGKILL in turn.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from helpers.events import shown_curves
from helpers.programs import ROOT
from helpers.sharing import fill_once

KILLS = int(os.environ.get("WORLDMODELS_KILLS", "2"))

STAGES = {
    "collect_rollouts": ["--num-rollouts", 4, "--shard-size", 2, "--seq-len", 150, "--gymnasium-share", 0.5],
    "train_vae": ["--num-epochs", 4, "--images-per-epoch", 240, "--num-test-files", 1, "--train-batch-size", 16,
                  "--latent-size", 8, "--nosamples", "true"],
    "encode_latents": [],
    "train_mdrnn": ["--num-epochs", 24, "--num-test-files", 1, "--hidden-size", 64, "--seq-len", 8,
                    "--batch-size", 2],
    "train_controller": ["--pop-size", 6, "--num-generations", 6, "--validation-interval", 2,
                         "--validation-episodes", 2, "--lanes", 2, "--time-limit", 60, "--max-workers", 2],
    "train_controller_in_dream": ["--world", "dream", "--pop-size", 6, "--n-samples", 4, "--num-generations", 8,
                                  "--validation-interval", 2, "--validation-episodes", 4, "--lanes", 4,
                                  "--time-limit", 500, "--stall-limit", 0, "--max-workers", 2],
    "evaluate": ["--num-episodes", 3, "--env-kwargs", '{"max_episode_steps": 90}'],
}  # fmt: skip
RESULTS = {
    "train_vae": "vae/best.tar",
    "train_mdrnn": "mdrnn/best.tar",
    "train_controller": "ctrl/best.tar",
    "train_controller_in_dream": "ctrl/best.tar",
}


def home(stage: str, logdir: Path) -> Path:
    """The folder of a stage's run: both ways to train C write to ctrl/."""
    return logdir / "dream" if stage == "train_controller_in_dream" else logdir


def command(stage: str, logdir: Path, rollouts: list[str]) -> list[str]:
    data_dir = logdir / "rollouts" if stage == "collect_rollouts" else Path(rollouts[0]).parent
    flags = ["--logdir", logdir, "--data-dir", data_dir, "--threads", 2, *STAGES[stage]]
    return [sys.executable, str(ROOT / "scripts" / f"{stage}.py"), *map(str, flags)]


def finish(stage: str, logdir: Path, rollouts: list[str]) -> tuple[float, str]:
    """Run to the end: how many seconds it took, and what it said."""
    start = time.monotonic()
    process = subprocess.run(command(stage, logdir, rollouts), capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return time.monotonic() - start, process.stderr


def same(one, other) -> bool:
    """Equal to the last bit, whatever the nesting."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def content(stage: str, logdir: Path):
    if stage == "evaluate":
        return json.loads((logdir / "eval.json").read_text())
    if stage in ("collect_rollouts", "encode_latents"):
        folder = logdir / ("rollouts" if stage == "collect_rollouts" else "latents")
        return {path.name: path.read_bytes() for path in folder.iterdir()}
    result = torch.load(logdir / RESULTS[stage], weights_only=True)
    summary = json.loads((logdir / RESULTS[stage]).with_suffix(".json").read_text())
    return [result, summary["history"]]


def curves(stage: str, logdir: Path) -> dict[str, list]:
    """The points of the stage's curves that do not depend on speed."""
    stage = {"train_controller_in_dream": "ctrl", "train_controller": "ctrl"}.get(stage, stage.removeprefix("train_"))
    points = shown_curves(logdir / "tensorboard" / stage)
    return {tag: values for tag, values in points.items() if "per_second" not in tag}


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def disturb(stage: str, logdir: Path, rollouts: list[str], number: int, delay: float) -> str:
    """Start the stage and stop it after a while; nothing of it may live on."""
    process = subprocess.Popen(
        command(stage, logdir, rollouts), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(delay)
    process.send_signal(number)
    _, output = process.communicate(timeout=60)
    assert process.returncode in ((-9, 0) if number == signal.SIGKILL else (128 + number, -number, 0))
    for _ in range(100):
        if not alive(process.pid):
            break
        time.sleep(0.1)
    assert not alive(process.pid), "a worker outlived its parent"
    assert "Traceback" not in output
    return output


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, rollouts) -> tuple[Path, dict[str, float]]:
    """A whole run, and the seconds that each stage took."""

    def fill(logdir: Path) -> None:
        seconds = {}
        for stage in STAGES:
            folder = home(stage, logdir)
            if folder != logdir:
                folder.mkdir()
                for models in ("vae", "mdrnn"):
                    (folder / models).symlink_to(logdir / models)
            seconds[stage] = finish(stage, folder, rollouts)[0]
        (logdir / "seconds.json").write_text(json.dumps(seconds))

    logdir = fill_once(tmp_path_factory, "undisturbed", fill)
    return logdir, json.loads((logdir / "seconds.json").read_text())


@pytest.mark.parametrize("stage", STAGES)
def test_stopped_and_continued_is_as_if_never_stopped(stage, undisturbed, rollouts, tmp_path):
    reference, seconds = undisturbed
    reference = home(stage, reference)
    before = {
        "collect_rollouts": [],
        "train_vae": [],
        "encode_latents": ["vae"],
        "train_mdrnn": ["vae", "latents"],
        "train_controller": ["vae", "mdrnn"],
        "train_controller_in_dream": ["vae", "mdrnn"],
    }
    for folder in before.get(stage, ["vae", "mdrnn", "ctrl"]):
        shutil.copytree(reference / folder, tmp_path / folder)
    moments = random.Random(stage)
    for kill in range(KILLS):
        number = (signal.SIGTERM, signal.SIGKILL)[kill % 2]
        delay = moments.uniform(0.5, 1.0) * seconds[stage]
        output = disturb(stage, tmp_path, rollouts, number, delay)
        print(f"{stage}: {signal.Signals(number).name} after {delay:.1f} s: {output.splitlines()[-1:]}")
    _, output = finish(stage, tmp_path, rollouts)
    print(f"{stage}: {[line for line in output.splitlines() if 'continuing' in line]}")
    assert same(content(stage, tmp_path), content(stage, reference)), "differs from the undisturbed run"
    assert curves(stage, tmp_path) == curves(stage, reference), "the curves are not those of the undisturbed run"
    assert bool(curves(stage, tmp_path)) == stage.startswith("train_")
    print(f"{stage}: {KILLS} kills, identical")


def test_a_full_disk_leaves_the_old_state(undisturbed, rollouts, tmp_path):
    """Files may not grow beyond a limit, as on a full disk: one clear line, and the state can be continued."""
    shutil.copytree(undisturbed[0] / "vae", tmp_path / "vae")
    before = (tmp_path / "vae/checkpoint.tar").read_bytes()
    more = [*command("train_vae", tmp_path, rollouts), "--num-epochs", "5"]
    process = subprocess.run(["bash", "-c", 'ulimit -f 1000; exec "$@"', "-", *more], capture_output=True, text=True)
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert "vae/checkpoint.tar: cannot be written: File too large" in process.stderr.splitlines()[-1]
    assert (tmp_path / "vae/checkpoint.tar").read_bytes() == before
    assert not list(tmp_path.rglob("*.tmp"))


# A run of Snakemake up to V, with the rollouts that are there.
TO_V = {
    "rollouts": {"num_rollouts": 6, "shard_size": 3, "seq_len": 60, "gymnasium_share": 0.5},
    "vae": {"num_epochs": 6, "images_per_epoch": 192, "num_test_files": 1, "latent_size": 8, "nosamples": True},
    "mdrnn": {"num_test_files": 1},
}


def start_snakemake(folder: Path, *flags, config: dict = TO_V) -> subprocess.Popen:
    """Snakemake in a working directory, in the background, in a session of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile", "run.json"]
    return subprocess.Popen(
        [*map(str, command), "--cores", "1", *flags],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def finish_snakemake(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def copy_rollouts(rollouts: list[str], folder: Path) -> None:
    shutil.copytree(Path(rollouts[0]).parent, folder)


def test_a_killed_snakemake_is_recovered_as_readme_says(rollouts, tmp_path):
    """Its program saves and ends with it; the second run goes on from there, and its bits are an undisturbed run's."""
    for name in ("whole", "killed"):
        (tmp_path / name / "results/carracing").mkdir(parents=True)
        copy_rollouts(rollouts, tmp_path / name / "results/carracing/rollouts")
    finish_snakemake(start_snakemake(tmp_path / "whole", "--", "vae"))
    snakemake = start_snakemake(tmp_path / "killed", "--", "vae")
    folder = tmp_path / "killed/results/carracing/vae"
    wait_for((folder / "checkpoint.tar").exists)
    snakemake.kill()
    snakemake.wait()
    for flag in ("--unlock", "--rerun-incomplete"):  # at once, while the first program may still save its state
        output = finish_snakemake(start_snakemake(tmp_path / "killed", flag, "--", "vae"))
    assert "continuing after epoch" in output
    assert not alive(snakemake.pid)
    for name in ("best.tar", "best.json"):
        assert (folder / name).read_bytes() == (tmp_path / "whole/results/carracing/vae" / name).read_bytes()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")], "a lock or half a file is left"


def test_a_second_program_in_a_folder_ends_with_a_line_and_touches_nothing(rollouts, tmp_path):
    flags = [*command("train_vae", tmp_path, rollouts), "--images-per-epoch", "64", "--log", str(tmp_path / "vae.log")]
    first = subprocess.Popen(flags, stderr=subprocess.DEVNULL)
    try:
        wait_for((tmp_path / "vae/checkpoint.tar").exists)
        first.send_signal(signal.SIGSTOP)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        second = subprocess.run([*flags, "--beta", "2"], capture_output=True, text=True)
        assert second.returncode == 1 and len(second.stderr.splitlines()) == 1
        holder = f"train_vae.py (process {first.pid} on "
        assert f"vae: expected no other program that writes here, found {holder}" in second.stderr
        assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        first.send_signal(signal.SIGCONT)
        assert first.wait(200) == 0
    finally:
        first.kill()


def test_two_runs_that_share_a_data_dir_do_not_spoil_each_other(tmp_path):
    """The second one, whose Snakemake would delete what the first one collects, ends with a line and runs later."""
    config = TO_V | {"data_dir": str(tmp_path / "shared")}
    first = start_snakemake(tmp_path / "first", "--", "rollouts", config=config)
    wait_for((tmp_path / "shared/.run.lock").exists)
    first.send_signal(signal.SIGSTOP)
    second = start_snakemake(tmp_path / "second", "--", "rollouts", config=config)
    output, _ = second.communicate(timeout=200)
    first.send_signal(signal.SIGCONT)
    line = f"error: {tmp_path}/shared: expected no other program that writes here, found Snakemake (process {first.pid}"
    assert second.returncode == 1 and line in output.splitlines()[-1]
    finish_snakemake(first)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "shared").iterdir()}
    assert len(files) == 6 + 2, "a lock is left"
    finish_snakemake(start_snakemake(tmp_path / "second", "--", "rollouts", config=config))
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "shared").iterdir()}
