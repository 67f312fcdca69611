"""Keys that are declared unable to change a result: two runs with other values make the same bytes."""

import shutil
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, run_script

from worldmodels import config, settings

# Stage, and what its second run changes: key -> flags. Every run has a logdir of its own.
CHANGES = [
    ("vae", {"logdir": [], "data_dir": [], "vae.sample_interval": ["--sample-interval", 1]}),
    ("vae", {"vae.noreload": ["--noreload", "true"], "vae.nosamples": ["--nosamples", "true"]}),
    ("mdrnn", {"mdrnn.noreload": ["--noreload", "true"]}),
    ("ctrl", {"ctrl.noreload": ["--noreload", "true"], "ctrl.max_workers": ["--max-workers", 1]}),
]

# Key -> the test elsewhere that compares bytes.
TESTED_ELSEWHERE = {
    "env.instances": "test_user_environments.py::test_results_do_not_depend_on_the_number_of_instances",
    "evaluate.shards": "test_scripts.py::test_shards_of_the_test_are_merged_into_the_same",
    "ctrl.workers": "cluster/test_cluster.py::test_the_controller_over_two_nodes_gives_the_same",
}

# Key -> why it needs no comparison.
EXPLAINED = {
    "device": "names hardware, whose last bits differ by nature; another machine makes no result stale either",
    "ctrl.display": "draws progress bars on a terminal",
    "rollouts.agent": "names a folder; the digests of the agent in it count",
}

STAGES = {
    "vae": ["train_vae", "--latent-size", 4, "--images-per-epoch", 64, "--train-batch-size", 32, "--threads", 1],
    "mdrnn": ["train_mdrnn", "--hidden-size", 8, "--seq-len", 16, "--threads", 1],
    "ctrl": ["train_controller", "--pop-size", 4, "--validation-episodes", 2, "--lanes", 2, "--time-limit", 15,
             "--threads", 2],
}  # fmt: skip
NEEDED = {"vae": [], "mdrnn": ["vae", "latents"], "ctrl": ["vae", "mdrnn"]}


def runtime_keys() -> set[str]:
    sections = [config.RunConfig, *config.SECTIONS.values()]
    fields = [(cls.section, f) for cls in sections for f in settings.settable(cls)]
    return {f"{name}.{settings.key(f)}".lstrip(".") for name, f in fields if f.metadata["role"] == settings.RUNTIME}


def product(stage: str, folder: Path, tiny_run: Path, data_dir: Path, *flags) -> dict[str, bytes]:
    """Train a tiny stage for two epochs, or generations; the bytes of what it made.

    With --noreload there is a state of one epoch that could be continued.
    """
    for part in NEEDED[stage]:
        shutil.copytree(tiny_run / part, folder / part)
    script, *tiny = STAGES[stage]
    budget = "--num-generations" if stage == "ctrl" else "--num-epochs"
    where = ["--logdir", folder, "--data-dir", data_dir, *([] if stage == "ctrl" else ["--num-test-files", 1])]
    for count in (1, 2) if "--noreload" in flags else (2,):
        run_script(script, *where, *tiny, budget, count, *flags)
    files = {file: (folder / stage / file).read_bytes() for file in ("best.tar", "best.json")}
    if stage == "ctrl":
        rows = (folder / "ctrl/history.csv").read_bytes().splitlines()
        files["history.csv"] = b"\n".join(row.rpartition(b",")[0] for row in rows)  # all but the seconds
    return files


@pytest.fixture(scope="module")
def first_runs(tmp_path_factory, tiny_run, rollouts):
    """product() of each stage with the defaults."""
    data_dir = Path(rollouts[0]).parent
    return cache(lambda stage: product(stage, tmp_path_factory.mktemp(stage), tiny_run, data_dir))


def test_every_runtime_key_has_a_row():
    rows = {key for _, changes in CHANGES for key in changes} | {*TESTED_ELSEWHERE, *EXPLAINED}
    missing = runtime_keys() - rows
    assert not missing, f"keys declared unable to change a result need a row in a table of this file: {missing}"


@pytest.mark.parametrize("stage, changes", CHANGES, ids=[" ".join(changes) for _, changes in CHANGES])
def test_runtime_keys_change_no_byte(stage, changes, first_runs, tmp_path, tiny_run, rollouts):
    data_dir = Path(rollouts[0]).parent
    if "data_dir" in changes:
        data_dir = shutil.copytree(data_dir, tmp_path / "elsewhere")
    flags = [flag for part in changes.values() for flag in part]
    assert product(stage, tmp_path / "run", tiny_run, data_dir, *flags) == first_runs(stage)


@pytest.mark.parametrize("test", TESTED_ELSEWHERE.values())
def test_the_test_elsewhere_exists(test):
    file, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / "tests" / file).read_text()
