"""In a chain of iterations each run collects with the agent of the run before, and starts at its C."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.programs import planned, run_snakemake
from worldmodels.models.controller import flatten_parameters
from worldmodels.models.load_controller import load_controller
from worldmodels.runtime.digests import file_digest

pytestmark = pytest.mark.xdist_group("chain")  # a fixture that takes long

TINY = {
    "env": {"id": "CartPole-v1"},
    "logdir": "it's $(touch broken) ü",
    "rollouts": {"num_rollouts": 4, "shard_size": 4, "seq_len": 60, "mixture": {"agent": 0.8, "ou": 0.2}},
    "vae": {"num_epochs": 1, "images_per_epoch": 128, "num_test_files": 1},
    "mdrnn": {"num_epochs": 1, "num_test_files": 1, "hidden_size": 16},
    "ctrl": {"pop_size": 4, "num_generations": 1, "validation_episodes": 2, "lanes": 2, "time_limit": 20},
    "evaluate": {"num_episodes": 2},
}
FIRST = ("train_controller", "evaluate")  # of iteration 0, if C's settings change
LATER = ("collect_agent_rollouts", "train_vae", "encode_latents", "train_mdrnn", "refit_controller", *FIRST)
COMPARE = {"compare_iterations"}


def rules_of(number: int, names: tuple[str, ...]) -> set[str]:
    return {f"iteration_{number}_{name}" for name in names}


def run(folder: Path, *values: str, flags: tuple = (), target: str = "compare_iterations", check: bool = True):
    files = ["--cores", 1, "--configfile", "tiny.json", "--config", "iterations=2", *values]
    return run_snakemake(*flags, *files, "--", target, cwd=folder, check=check)


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Path:
    """The working directory of a tiny chain of two iterations, in a folder with a difficult name: not to be changed."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "tiny.json").write_text(json.dumps(TINY))
    process = run(folder)
    (folder / "said.txt").write_text(process.stderr)
    return folder


def test_a_chain_of_two_iterations(chain):
    logdir = chain / TINY["logdir"]
    tests = [read(logdir / f"iteration_{number}/eval.json") for number in range(2)]
    compared = read(logdir / "iterations.json")
    assert [each["mean"] for each in compared["iterations"]] == [test["mean"] for test in tests]
    table = (logdir / "iterations.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| 0", "| 1"]
    assert (logdir / "iterations.png").read_bytes().startswith(b"\x89PNG")
    assert not (chain / "broken").exists()
    said = (chain / "said.txt").read_text()
    assert said.count("score: ") == 2 and f"{TINY['logdir']}/iteration_1/eval.json" in said


def test_an_iteration_begins_with_the_agent_of_the_one_before(chain):
    logdir = chain / TINY["logdir"]
    earlier = file_digest(logdir / "iteration_0/ctrl/best.tar")
    shard, start = read(logdir / "rollouts/iteration_1/00000.json"), read(logdir / "iteration_1/ctrl/start.json")
    assert shard["agent"]["sha256"] == start["agent"] == earlier
    assert "agent" not in read(logdir / "rollouts/iteration_0/00000.json")
    own_steps = sum(episode["steps"] for episode in shard["episodes"].values())
    assert start["rows"] == own_steps and 0 <= start["rmse"] < start["std"]
    before, after = (read(logdir / f"iteration_{number}/eval.json")["env_steps"] for number in range(2))
    assert after["rollouts"] == own_steps + before["total"]
    assert after["total"] == after["rollouts"] + after["controller"]


STALE = {
    "nothing": ([], set()),
    "one iteration more": (["iterations=3"], rules_of(2, LATER) | COMPARE),
    "one iteration less": (["iterations=1"], COMPARE),
    "the agent's noise": (["rollouts={agent_noise: 0.3}"], rules_of(1, LATER) | COMPARE),
    "the agent's share": (["rollouts={mixture: {agent: 0.5}}"], rules_of(1, LATER) | COMPARE),
    "the budget of C": (["ctrl={num_generations: 2}"], rules_of(0, FIRST) | rules_of(1, LATER) | COMPARE),
    "the size of the test": (["evaluate={num_episodes: 3}"], rules_of(0, FIRST[1:]) | rules_of(1, FIRST[1:]) | COMPARE),
    "the device": (["device=cpu"], set()),
}


@pytest.mark.parametrize("row", STALE)
def test_what_an_edit_makes_stale(row, chain):
    values, stale = STALE[row]
    assert set(planned(run(chain, *values, flags=("-n",)).stdout)) == stale


def test_lost_records_make_nothing_stale(chain, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(chain, folder, ignore=shutil.ignore_patterns(".snakemake"))
    assert planned(run(folder, flags=("-n",)).stdout) == {}


def test_iterations_keep_what_a_profile_says_of_stages(tmp_path):
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    resources = ("--set-threads", "train_vae=3", "--set-resources", "refit_controller:mem_mb=1234")
    flags = ("-n", "--cores", 4, *resources)
    output = run(tmp_path, "seeds=[1,2]", flags=flags, target="all").stdout
    jobs = dict(re.findall(r"^rule (\w+):\n((?:    .*\n)+)", output, re.M))
    assert "mem_mb=1234" in jobs["seed_2_iteration_1_refit_controller"]
    assert {f"seed_{seed}_compare_iterations" for seed in (1, 2)} < set(jobs)
    tests = ", ".join(f"{TINY['logdir']}/seed_{seed}/iteration_1/eval.json" for seed in (1, 2))
    assert f"input: {tests}\n" in jobs["compare_runs"]


def test_errors_of_an_iteration_are_the_last_thing_to_be_seen(tmp_path):
    (tmp_path / "tiny.json").write_text(json.dumps({**TINY, "env": {"id": "NoSuch-v0"}}))
    process = run(tmp_path, "ctrl={squash: []}", check=False)
    last = process.stderr.strip().splitlines()[-1]
    assert process.returncode and last.startswith("iteration_0 collect_rollouts_00000: env.id: expected")


def test_the_content_of_a_start_counts_and_its_path_does_not(chain, tmp_path):
    """Here iteration 0 is a run of its own, whose C starts at an earlier one."""
    folder = tmp_path / "copy"
    shutil.copytree(chain, folder)
    logdir = f"{TINY['logdir']}/iteration_0"
    shutil.copytree(folder / logdir / "ctrl", folder / "earlier/ctrl")
    places = [f"logdir={json.dumps(logdir)}", f"data_dir={json.dumps(TINY['logdir'] + '/rollouts/iteration_0')}"]
    places += ["iterations=null", "rollouts={mixture: {agent: 0}}"]

    def jobs(start: str, *flags: str) -> set[str]:
        values = [*places, f"ctrl={{start: {start}, sigma0: 0.000001}}"]
        process = run(folder, *values, flags=flags, target="evaluate")
        return set(planned(process.stdout + process.stderr))

    assert jobs("earlier") == {"train_controller", "evaluate"}
    earlier, found = (load_controller(path / "ctrl/best.tar")[0] for path in (folder / "earlier", folder / logdir))
    np.testing.assert_allclose(flatten_parameters(found), flatten_parameters(earlier), atol=1e-4)
    assert np.abs(flatten_parameters(earlier)).max() > 0.01
    steps = read(folder / logdir / "eval.json")["env_steps"]
    assert steps["start"] == read(chain / logdir / "eval.json")["env_steps"]["controller"]
    assert steps["total"] == sum(steps[key] for key in ("rollouts", "start", "controller"))
    shutil.copy(folder / "earlier/ctrl/best.tar", folder / "copy.tar")
    assert jobs("copy.tar", "-n") == jobs("earlier", "-n") == set()
    content = torch.load(folder / "copy.tar", weights_only=True)
    torch.save({**content, "epoch": 99}, folder / "copy.tar")
    assert jobs("copy.tar", "-n") == {"train_controller", "evaluate"}
