"""On a real scheduler jobs get what they ask for, and go on after they were cut."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from cluster.box import SPARE, Box, kill
from cluster.submission import CONTROLLER, LOGS, PRESET, cluster_command
from helpers.programs import ROOT

# What a job of each rule is to get: partition, CPUs, memory in MB, GPUs, time limit. Memory by the formulas of rules/
# for the smoke preset's 8 rollouts of 200 frames.
FRAMES_MB = 8 * 200 * 64 * 64 * 3 / 1e6
LATENTS_MB = 8 * 200 * 32 * 8 / 1e6
REQUESTS = {
    "collect_rollouts": ("cpu", 1, 600 + 1.3 * FRAMES_MB / 2, 0, "00:24:00"),
    "train_vae": ("gpu", 2, 1500 + 1.3 * FRAMES_MB, 1, "06:00:00"),
    "encode_latents": ("gpu", 2, 2500 + 3 * LATENTS_MB, 1, "01:00:00"),
    "train_mdrnn": ("gpu", 2, 1500 + 3 * LATENTS_MB, 1, "06:00:00"),
    "train_controller": ("cpu", 2, 2400, 0, "1-00:00:00"),
    "evaluate_shard": ("cpu", 2, 2400, 0, "04:00:00"),
    "evaluate": ("cpu", 1, 1700, 0, "04:00:00"),
}


def memory_mb(job: dict[str, str]) -> int:
    """Return a job's memory per node or per CPU, in MB."""
    number, unit = re.fullmatch(r"([\d.]+)([MG])", job.get("MinMemoryNode") or job["MinMemoryCPU"]).groups()
    return round(float(number) * (1024 if unit == "G" else 1))


def gpus(job: dict[str, str]) -> int:
    """Return the number of a job's GPUs."""
    match = re.search(r"gpu:(\d+)", job.get("TresPerJob", ""))
    return int(match[1]) if match else 0


def test_jobs_get_what_their_rules_ask_for(box: Box, models: Path, finished: Path):
    jobs = box.jobs(models, finished)
    print(f"{'rule':18}{'partition':>10}{'CPUs':>6}{'MB':>7}{'GPUs':>6}{'limit':>12}  node  state")
    for job in jobs:
        allotted = (job["Partition"], int(job["NumCPUs"]), memory_mb(job), gpus(job), job["TimeLimit"])
        row = "{:18}{:>10}{:>6}{:>7}{:>6}{:>12}".format(job["Rule"], *allotted)
        print(row, f" {job['NodeList']}    {job['JobState']}")
    assert sorted(job["Rule"] for job in jobs) == sorted([*REQUESTS, "collect_rollouts", "evaluate_shard"])
    for job in jobs:
        partition, cpus, mb, gpu, limit = REQUESTS[job["Rule"]]
        assert job["JobState"] == "COMPLETED"
        assert (job["Partition"], int(job["NumCPUs"]), gpus(job), job["TimeLimit"]) == (partition, cpus, gpu, limit)
        assert memory_mb(job) == int(mb)
        assert job["NodeList"].startswith("g" if gpu else "c")


def test_gpu_jobs_and_only_they_see_a_gpu(finished: Path):
    logs = {path.stem: path.read_text() for path in (finished / LOGS).glob("*.log")}
    with_gpu = {stage for stage, text in logs.items() if re.search(r"CUDA_VISIBLE_DEVICES is [01]", text)}
    assert with_gpu == {"train_vae", "encode_latents", "train_mdrnn"}


def test_the_cluster_trains_the_same_controller_as_this_machine(finished: Path, undisturbed: Callable[[], str]):
    assert best(finished) == undisturbed()


def best(folder: Path) -> str:
    """Return the text of the controller's best.json."""
    return (folder / CONTROLLER).read_text()


@pytest.fixture
def work(models: Path, tmp_path: Path) -> Path:
    """Return a copy of the models' folder, where a controller can be trained."""
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    return tmp_path


class Start(Protocol):
    """Start Snakemake in the background, which submits the controller's training."""

    def __call__(self, *flags: str, controller: str = "") -> subprocess.Popen: ...


@pytest.fixture
def start(work: Path) -> Iterator[Start]:
    """Return a function that starts Snakemake in the folder `work`. What still runs after the test is killed."""
    processes = []

    def start(*flags: str, controller: str = "") -> subprocess.Popen:
        command = cluster_command(CONTROLLER, *flags, controller=controller)
        with open(work / "output.txt", "ab") as output:
            process = subprocess.Popen(command, cwd=work, stdout=output, stderr=output, start_new_session=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def finish(snakemake: subprocess.Popen, work: Path) -> None:
    """Wait until Snakemake has ended, which must be a success."""
    assert snakemake.wait(400) == 0, (work / "output.txt").read_text()


def generations(work: Path) -> int:
    """Return the number of generations in history.csv."""
    path = work / "results/smoke/ctrl/history.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def training_processes(work: Path) -> list[psutil.Process]:
    """Return the processes that train the controller: one, or one per MPI rank."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if process.info["cwd"] == str(work)
        and any(part.endswith("/train_controller.py") for part in process.info["cmdline"] or [])
    ]


def wait_for_training(box: Box, work: Path) -> str:
    """Wait until the controller's job has trained for some generations. Return the job's id."""
    box.wait("the controller's job", lambda: generations(work) >= 3, 180)
    return box.jobs(work)[-1]["JobId"]


def hold_training(box: Box, work: Path) -> str:
    """Suspend the training after some generations, so that its job is cut in the middle. Return the job's id.

    When SLURM ends a job it resumes the job's processes first.
    """
    job = wait_for_training(box, work)
    (process,) = training_processes(work)
    process.suspend()
    return job


def test_a_cancelled_job_is_submitted_again_and_goes_on(
    box: Box, work: Path, start: Start, undisturbed: Callable[[], str]
):
    snakemake = start()
    subprocess.run(["scancel", hold_training(box, work)], check=True)
    finish(snakemake, work)
    first, second = box.jobs(work)
    assert first["JobState"] == "CANCELLED" and second["JobState"] == "COMPLETED"
    assert "continuing after generation" in (work / LOGS / "train_controller.log").read_text()
    assert best(work) == undisturbed()


def test_a_job_that_meets_its_time_limit_saves_first_and_goes_on(
    box: Box, work: Path, start: Start, undisturbed: Callable[[], str]
):
    """The limit is two minutes. SLURM sends the profile's signal up to a minute before it has to."""
    limits = ("runtime=20*attempt-18", "slurm_extra='--signal=TERM@30'")
    snakemake = start("--set-resources", *(f"train_controller:{limit}" for limit in limits))
    hold_training(box, work)
    finish(snakemake, work)
    jobs = box.jobs(work)
    assert len(jobs) >= 2 and jobs[0]["TimeLimit"] == "00:02:00" and jobs[-1]["JobState"] == "COMPLETED"
    logs = [path.read_text() for path in sorted((work / "logs/slurm/rule_train_controller").glob("*.log"))]
    assert any("stopped by SIGTERM" in log for log in logs)
    assert best(work) == undisturbed()


def test_a_job_out_of_memory_gets_more(box: Box, work: Path, start: Start, undisturbed: Callable[[], str]):
    finish(start("--set-resources", "train_controller:mem_mb=500+2000*(attempt-1)"), work)
    jobs = box.jobs(work)
    assert len(jobs) >= 2 and jobs[0]["JobState"] != "COMPLETED" and jobs[-1]["JobState"] == "COMPLETED"
    assert memory_mb(jobs[-1]) > memory_mb(jobs[0]) == 500
    assert best(work) == undisturbed()


@pytest.fixture
def spare_nodes(box: Box) -> Iterator[None]:
    """Start the spare nodes."""
    for node in SPARE:
        box.start(node)
    box.wait("the spare nodes to register", lambda: all(box.states()[node] == "idle" for node in SPARE), 90)
    yield
    for node in set(SPARE) & set(box.daemons):
        box.stop(node)


def test_a_job_whose_node_dies_runs_elsewhere(
    box: Box, spare_nodes, work: Path, start: Start, undisturbed: Callable[[], str]
):
    snakemake = start("--set-resources", "train_controller:slurm_partition=spare")
    job = hold_training(box, work)
    node = box.jobs(work)[-1]["NodeList"]
    box.stop(node, signal.SIGKILL)
    # All that ran on the node is gone with it. SLURM's own processes go first, before they can report a death.
    steps = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "slurmstepd" and f"[{job}." in " ".join(process.info["cmdline"] or [])
    ]
    for process in [*steps, *(child for step in steps for child in step.children(recursive=True))]:
        kill(process)
    finish(snakemake, work)
    first, *_, last = box.jobs(work)
    assert first["JobState"] == "NODE_FAIL" and last["JobState"] == "COMPLETED" and last["NodeList"] != node
    box.start(node)
    box.wait("the node to come back", lambda: box.states()[node] == "idle", 90)
    assert best(work) == undisturbed()


def test_ctrl_c_cancels_the_jobs_and_frees_the_lock(box: Box, work: Path, start: Start, undisturbed: Callable[[], str]):
    snakemake = start()
    hold_training(box, work)
    snakemake.send_signal(signal.SIGINT)
    assert snakemake.wait(60) != 0
    box.wait("the job to go", lambda: box.jobs(work)[-1]["JobState"] not in ("RUNNING", "COMPLETING"), 90)
    assert box.jobs(work)[-1]["JobState"] == "CANCELLED"
    finish(start(), work)
    assert best(work) == undisturbed()


def test_recovery_after_snakemake_was_killed(box: Box, work: Path, start: Start, undisturbed: Callable[[], str]):
    snakemake = start()
    orphan = hold_training(box, work)
    snakemake.kill()
    snakemake.wait()
    refused = subprocess.run(cluster_command(CONTROLLER), cwd=work, capture_output=True, text=True)
    assert refused.returncode != 0 and "lock" in (refused.stdout + refused.stderr).lower()
    recover = [str(part) for part in (ROOT / "profiles/slurm/recover.sh", *PRESET)]
    path = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    recovery = subprocess.run(recover, cwd=work, capture_output=True, text=True, env=path)
    assert recovery.returncode == 0 and orphan in recovery.stdout, recovery.stdout + recovery.stderr
    finish(start(), work)
    first, second = box.jobs(work)
    assert first["JobState"] == "CANCELLED" and second["JobState"] == "COMPLETED"
    assert first["EndTime"] <= second["StartTime"], "two jobs wrote the same files"
    assert best(work) == undisturbed()


def test_mpi_over_two_nodes_trains_the_same_and_goes_on_after_a_killed_rank(
    box: Box, work: Path, start: Start, undisturbed: Callable[[], str]
):
    two_nodes = ["--set-resources", "train_controller:nodes=2", "--set-threads", "train_controller=1"]
    snakemake = start(*two_nodes, controller="workers: mpi, max_workers: 2")
    wait_for_training(box, work)
    worker = next(rank for rank in training_processes(work) if rank.environ().get("SLURM_PROCID") == "2")
    kill_time = time.monotonic()
    worker.kill()
    box.wait("the job to end", lambda: box.jobs(work)[0]["JobState"] == "FAILED", 60)
    print(f"the job ended {time.monotonic() - kill_time:.0f} s after its rank")
    finish(snakemake, work)
    first, second = box.jobs(work)
    assert first["NumNodes"] == second["NumNodes"] == "2" and second["JobState"] == "COMPLETED"
    assert int(second["NumTasks"]) == 3
    assert "continuing after generation" in (work / LOGS / "train_controller.log").read_text()
    assert best(work) == undisturbed()
