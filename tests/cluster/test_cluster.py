"""The profile on a real scheduler: what jobs get, and what happens when they are cut."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from conftest import PRESET, ROOT, command

# What a job of each rule is to get: partition, CPUs, memory in MB, GPUs, time limit. Memory by the formulas of rules/
# for the smoke preset's 8 rollouts of 200 frames.
FRAMES_MB = 8 * 200 * 64 * 64 * 3 / 1e6
LATENTS_MB = 8 * 200 * 32 * 8 / 1e6
ASKED = {
    "rollouts_shard": ("cpu", 1, 600 + 1.3 * FRAMES_MB / 2, 0, "00:24:00"),
    "vae": ("gpu", 2, 1500 + 1.3 * FRAMES_MB, 1, "06:00:00"),
    "latents": ("gpu", 2, 2500 + 3 * LATENTS_MB, 1, "01:00:00"),
    "mdrnn": ("gpu", 2, 1500 + 3 * LATENTS_MB, 1, "06:00:00"),
    "ctrl": ("cpu", 2, 2400, 0, "1-00:00:00"),
    "evaluate_shard": ("cpu", 2, 2400, 0, "04:00:00"),
    "evaluate": ("cpu", 1, 1700, 0, "04:00:00"),
}


def longer(generations: int, more: str = "") -> list[str]:
    """A longer controller stage than the smoke preset's, and of the same length every time."""
    return ["--config", f"ctrl={{num_generations: {generations}, stall_limit: 0{more}}}"]


CONTROLLER = longer(generations=30)  # long enough to be cut in the middle
TARGET = ["--", "results/smoke/ctrl/best.json"]


def memory(job: dict) -> int:
    """The job's memory, MB, a node or a CPU."""
    number, unit = re.fullmatch(r"([\d.]+)([MG])", job.get("MinMemoryNode") or job["MinMemoryCPU"]).groups()
    return round(float(number) * (1024 if unit == "G" else 1))


def gpus(job: dict) -> int:
    found = re.search(r"gpu:(\d+)", job.get("TresPerJob", ""))
    return int(found[1]) if found else 0


def test_jobs_get_what_their_rules_ask_for(box, finished):
    jobs = [job for job in box.jobs() if job["WorkDir"] == str(finished)]
    print(f"{'rule':16}{'partition':>10}{'CPUs':>6}{'MB':>7}{'GPUs':>6}{'limit':>12}  node  state")
    for job in jobs:
        got = (job["Partition"], int(job["NumCPUs"]), memory(job), gpus(job), job["TimeLimit"])
        print("{:16}{:>10}{:>6}{:>7}{:>6}{:>12}".format(job["Rule"], *got), f" {job['NodeList']}    {job['JobState']}")
    assert sorted(job["Rule"] for job in jobs) == sorted([*ASKED, "rollouts_shard", "evaluate_shard"])
    for job in jobs:
        partition, cpus, mem, gpu, limit = ASKED[job["Rule"]]
        assert job["JobState"] == "COMPLETED"
        assert (job["Partition"], int(job["NumCPUs"]), gpus(job), job["TimeLimit"]) == (partition, cpus, gpu, limit)
        assert memory(job) == int(mem)
        assert job["NodeList"].startswith("g" if gpu else "c")


def test_gpu_jobs_and_only_they_see_a_gpu(finished):
    said = {path.stem: path.read_text() for path in (finished / "results/smoke/logs").glob("*.log")}
    seen = {stage for stage, text in said.items() if re.search(r"CUDA_VISIBLE_DEVICES is [01]", text)}
    assert seen == {"vae", "latents", "mdrnn"}


def train_here(run: Path, folder: Path, controller: list[str]) -> Path:
    """A copy of a run, whose controller stage then goes on without disturbance, here instead of on the cluster."""
    shutil.copytree(run, folder, dirs_exist_ok=True)
    here = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", 2, *PRESET]
    done = subprocess.run([str(part) for part in (*here, *controller, *TARGET)], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def undisturbed(finished, tmp_path_factory) -> Path:
    """A run whose long controller stage was not disturbed."""
    return train_here(finished, tmp_path_factory.mktemp("undisturbed"), CONTROLLER)


@pytest.fixture(scope="module")
def reference(undisturbed) -> str:
    """Its best.json."""
    return best(undisturbed)


def best(folder: Path) -> str:
    return (folder / "results/smoke/ctrl/best.json").read_text()


@pytest.fixture
def work(finished, tmp_path) -> Path:
    """A copy of the finished run, whose controller the long configuration makes stale."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "results/smoke/ctrl")
    return tmp_path


def start(work: Path, *flags, controller: list[str] = CONTROLLER) -> subprocess.Popen:
    """Snakemake in the background, submitting the long controller stage."""
    with open(work / "said.txt", "ab") as said:
        return subprocess.Popen(
            command(*flags, *controller, *TARGET), cwd=work, stdout=said, stderr=said, start_new_session=True
        )


def jobs_of(box, work: Path) -> list[dict]:
    return [job for job in box.jobs() if job["WorkDir"] == str(work) and job["Rule"] == "ctrl"]


def history(work: Path) -> int:
    """Generations in history.csv."""
    path = work / "results/smoke/ctrl/history.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def at_work(box, work: Path, generations: int = 3) -> str:
    """Wait until the controller's job has done some generations: its id."""
    box.wait("the controller's job", lambda: history(work) >= generations, 120)
    return jobs_of(box, work)[-1]["JobId"]


def finish(snakemake: subprocess.Popen, work: Path) -> str:
    assert snakemake.wait(400) == 0, (work / "said.txt").read_text()
    return (work / "said.txt").read_text()


def test_a_cancelled_job_is_submitted_again_and_goes_on(box, work, reference):
    snakemake = start(work)
    subprocess.run(["scancel", at_work(box, work)], check=True)
    finish(snakemake, work)
    first, second = jobs_of(box, work)
    assert first["JobState"] == "CANCELLED" and second["JobState"] == "COMPLETED"
    assert "continuing after generation" in (work / "results/smoke/logs/ctrl.log").read_text()
    assert best(work) == reference


def test_a_job_that_meets_its_time_limit_saves_first_and_goes_on(box, work, undisturbed):
    """A minute's limit, and the profile's signal before it: the training takes longer than that."""
    training = longer(generations=80)
    limits = ["--set-resources", "ctrl:runtime=20*attempt-19", "ctrl:slurm_extra='--signal=TERM@15'"]
    finish(start(work, *limits, controller=training), work)
    jobs = jobs_of(box, work)
    assert len(jobs) >= 2 and jobs[0]["TimeLimit"] == "00:01:00" and jobs[-1]["JobState"] == "COMPLETED"
    logs = [path.read_text() for path in sorted((work / "logs/slurm/rule_ctrl").glob("*.log"))]
    assert any("stopped by SIGTERM" in log for log in logs)
    assert best(work) == best(train_here(undisturbed, work / "undisturbed", training))


def test_a_job_out_of_memory_gets_more(box, work, reference):
    finish(start(work, "--set-resources", "ctrl:mem_mb=500*attempt*attempt"), work)
    jobs = jobs_of(box, work)
    assert len(jobs) >= 2 and jobs[0]["JobState"] != "COMPLETED" and jobs[-1]["JobState"] == "COMPLETED"
    assert memory(jobs[-1]) > memory(jobs[0]) == 500
    assert best(work) == reference


def test_a_job_whose_node_dies_runs_elsewhere(box, work, reference):
    snakemake = start(work)
    at_work(box, work)
    node = jobs_of(box, work)[-1]["NodeList"]
    box.stop(node, signal.SIGKILL)
    # All that ran on the node is gone with it; SLURM's own processes first, before they can report a death.
    found = subprocess.run(["pgrep", "-f", f"slurmstepd: .*{jobs_of(box, work)[-1]['JobId']}"], capture_output=True)
    steps = [psutil.Process(int(pid)) for pid in found.stdout.split()]
    for process in [*steps, *(child for step in steps for child in step.children(recursive=True))]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    try:
        finish(snakemake, work)
    finally:
        box.start(node)
        box.wait("the node to come back", lambda: box.states()[node] == "idle", 90)
    first, *_, last = jobs_of(box, work)
    assert first["JobState"] == "NODE_FAIL" and last["JobState"] == "COMPLETED" and last["NodeList"] != node
    assert best(work) == reference


def test_ctrl_c_cancels_the_jobs_and_frees_the_lock(box, work, reference):
    snakemake = start(work)
    at_work(box, work)
    snakemake.send_signal(signal.SIGINT)
    assert snakemake.wait(60) != 0
    box.wait("the job to go", lambda: jobs_of(box, work)[-1]["JobState"] not in ("RUNNING", "COMPLETING"))
    assert jobs_of(box, work)[-1]["JobState"] == "CANCELLED"
    finish(start(work), work)
    assert best(work) == reference


def test_recovery_after_snakemake_was_killed(box, work, reference):
    snakemake = start(work)
    orphan = at_work(box, work)
    snakemake.kill()
    snakemake.wait()
    refused = subprocess.run(command(*CONTROLLER, *TARGET), cwd=work, capture_output=True, text=True)
    assert refused.returncode != 0 and "lock" in (refused.stdout + refused.stderr).lower()
    recover = [ROOT / "profiles/slurm/recover.sh", *PRESET]
    path = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([str(part) for part in recover], cwd=work, capture_output=True, text=True, env=path)
    assert done.returncode == 0 and orphan in done.stdout, done.stdout + done.stderr
    finish(start(work), work)
    first, second = jobs_of(box, work)
    assert first["JobState"] == "CANCELLED" and second["JobState"] == "COMPLETED"
    assert first["EndTime"] <= second["StartTime"], "two jobs wrote the same files"
    assert best(work) == reference


def test_the_controller_over_two_nodes_gives_the_same(box, work, reference):
    """And a rank that is killed ends the job at once, which then goes on."""
    two_nodes = ["--set-resources", "ctrl:nodes=2", "--set-threads", "ctrl=1"]
    snakemake = start(work, *two_nodes, controller=longer(generations=30, more=", workers: mpi, max_workers: 2"))
    at_work(box, work)
    found = subprocess.run(["pgrep", "-f", "mpi4py.futures .*train_controller"], capture_output=True, text=True)
    processes = [Path("/proc", pid) for pid in found.stdout.split()]
    ranks = {path: path.joinpath("environ").read_text().split("\0") for path in processes if path.exists()}
    worker = next(int(path.name) for path, environment in ranks.items() if "SLURM_PROCID=2" in environment)
    killed = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    box.wait("the job to end", lambda: jobs_of(box, work)[0]["JobState"] == "FAILED", 60)
    print(f"the job ended {time.monotonic() - killed:.0f} s after its rank")
    finish(snakemake, work)
    first, second = jobs_of(box, work)
    assert first["NumNodes"] == second["NumNodes"] == "2" and second["JobState"] == "COMPLETED"
    assert int(second["NumTasks"]) == 3
    assert "continuing after generation" in (work / "results/smoke/logs/ctrl.log").read_text()
    assert best(work) == reference
