"""Keys that are declared unable to change a result change no byte."""

import io
import json
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch

from helpers.programs import ROOT, run_script
from worldmodels.data.collection import collect_shard
from worldmodels.runtime.config import SECTIONS, RolloutsConfig, RunConfig
from worldmodels.runtime.effects import idle_fields, idle_in_ctrl, idle_in_mdrnn, idle_in_rollouts, idle_in_vae
from worldmodels.runtime.loading import load_config
from worldmodels.runtime.settings import RUNTIME, config_key, settable
from worldmodels.runtime.values import to_text
from worldmodels.storage.checkpoints import load_checkpoint

pytestmark = pytest.mark.xdist_group("first_runs")  # a fixture that takes long

# Stage, and what its second run changes: key -> flags. Every run has a logdir of its own.
CHANGES = [
    ("vae", {"logdir": [], "data_dir": [], "vae.sample_interval": ["--sample-interval", 1]}),
    ("vae", {"vae.noreload": ["--noreload", "true"], "vae.nosamples": ["--nosamples", "true"]}),
    ("vae", {"tensorboard": ["--tensorboard", "false"]}),
    ("mdrnn", {"mdrnn.noreload": ["--noreload", "true"], "tensorboard": ["--tensorboard", "false"]}),
    ("ctrl", {
        "ctrl.noreload": ["--noreload", "true"], "ctrl.max_workers": ["--max-workers", 1],
        "tensorboard": ["--tensorboard", "false"],
    }),
]  # fmt: skip

# Key -> the test elsewhere that compares bytes.
TESTED_ELSEWHERE = {
    "env.instances": "unit/envs/test_user_environments.py::test_results_do_not_depend_on_the_number_of_instances",
    "evaluate.shards": "workflow/test_scripts.py::test_shards_of_the_test_are_merged_into_the_same",
    "ctrl.workers": "cluster/test_cluster.py::test_mpi_over_two_nodes_trains_the_same_and_goes_on_after_a_killed_rank",
}

# Key -> why it needs no comparison.
EXPLAINED = {
    "device": "names hardware, whose last bits differ by nature; another machine makes no result stale either",
    "ctrl.display": "draws progress bars on a terminal",
    **dict.fromkeys(("vae.start", "mdrnn.start", "ctrl.start"), "names a file; the digest of its content counts"),
    "rollouts.source": "names a folder; the stamps of the episodes in it count",
    "rollouts.agent": "names a folder; the digests of the agent in it count",
}

# Stage, its values, and another value of each key that has no effect beside them: see config.idle.
SHORT = {"num_epochs": 2, "scheduler_patience": 5, "scheduler_factor": 0.5, "early_stopping_patience": 30}
LESS_PATIENT = {"scheduler_patience": 2, "scheduler_factor": 0.9, "early_stopping_patience": 2}
SEARCH = {"num_generations": 2, "max_env_steps": 5000}
IDLE = [
    ("rollouts", {"policy": "random"}, {
        "mixture": {"agent": 1.0}, "ou_mean": [0.1, 0.2, 0.3], "ou_sigma": [1.0, 1.0, 1.0], "ou_theta": 0.9,
        "agent_noise": 0.1, "gymnasium_share": 0.9, "source_frames": "after",
    }),
    ("vae", SHORT, {**LESS_PATIENT, "memory_gb": 4.0}),
    ("mdrnn", SHORT, LESS_PATIENT),
    ("mdrnn", {**SHORT, "num_epochs": 0}, {**LESS_PATIENT, "learning_rate": 0.1, "grad_clip": 0.1}),
    ("ctrl", SEARCH, {
        "sample_growth": 6000, "hard_share": 0.9, "ascent_after": 7000, "ascent_rate": 0.9, "temperature": 2.0,
    }),
]  # fmt: skip
ENV = {"backend": "gymnasium"}

STAGES = {
    "vae": ["train_vae", "--latent-size", 4, "--images-per-epoch", 64, "--train-batch-size", 32, "--threads", 1],
    "mdrnn": ["train_mdrnn", "--hidden-size", 8, "--seq-len", 16, "--threads", 1],
    "ctrl": ["train_controller", "--pop-size", 4, "--validation-episodes", 2, "--lanes", 2, "--time-limit", 15,
             "--threads", 2],
}  # fmt: skip
NEEDED = {"vae": [], "mdrnn": ["vae", "latents"], "ctrl": ["vae", "mdrnn"]}


def runtime_keys() -> set[str]:
    sections = [RunConfig, *SECTIONS.values()]
    fields = [(cls.section, f) for cls in sections for f in settable(cls)]
    return {f"{name}.{config_key(f)}".lstrip(".") for name, f in fields if f.metadata["role"] == RUNTIME}


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
        run_script(script, *where, *tiny, budget, count, *flags)  # of a flag given twice the last value holds
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
    dead = rows - runtime_keys()
    assert not dead, f"rows of keys that are not declared unable to change a result: {dead}"


def load(stage: str, values: dict):
    """The configuration of a tiny run of the stage with these values."""
    sections = {"env": ENV, "rollouts": {"num_rollouts": 6, "seq_len": 60}, "mdrnn": {"seq_len": 16}, "vae": {}}
    for part in ("vae", "mdrnn"):
        sections[part] = {"num_test_files": 1, **sections[part]}
    return load_config({**sections, stage: {**sections.get(stage, {}), **values}})


def without_config(files: dict[str, bytes]) -> dict[str, bytes]:
    """product() without the values that a checkpoint names, and without its digest."""
    saved = torch.load(io.BytesIO(files["best.tar"]), weights_only=True)
    del saved["config"]
    weights = io.BytesIO()
    torch.save(saved, weights)
    summary = json.loads(files["best.json"])
    del summary["sha256"]
    return {**files, "best.tar": weights.getvalue(), "best.json": json.dumps(summary).encode()}


def test_every_idle_key_has_a_row():
    loaded = load_config({})
    declared = {
        "rollouts": idle_in_rollouts(loaded.rollouts, loaded), "vae": idle_in_vae(loaded.vae, loaded),
        "mdrnn": idle_in_mdrnn(loaded.mdrnn, loaded), "ctrl": idle_in_ctrl(loaded.ctrl, loaded),
    }  # fmt: skip
    for stage, keys in declared.items():
        changed = {key for name, _, changes in IDLE if name == stage for key in changes}
        assert changed == set(keys), f"rows of {stage} for keys without effect"


@pytest.mark.parametrize(("stage", "values", "changes"), IDLE)
def test_idle_keys_change_no_byte(stage, values, changes, tmp_path, tiny_run, rollouts):
    def flags_of(given: dict) -> list:
        pairs = ((f"--{name.replace('_', '-')}", to_text(value)) for name, value in given.items())
        return [word for pair in pairs for word in pair]

    result = []
    for folder, given in (("one", values), ("two", {**values, **changes})):
        loaded = load(stage, given)
        assert set(changes) <= idle_fields(getattr(loaded, stage), loaded)
        if stage == "rollouts":
            short = RolloutsConfig(num_rollouts=2, shard_size=2, seq_len=5, **given)
            collect_shard(str(tmp_path / folder), loaded.env, short, seed=1, shard=0)
            result.append({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()})
        else:
            more = ["--env-backend", "gymnasium"] if stage == "ctrl" else []
            files = product(stage, tmp_path / folder, tiny_run, Path(rollouts[0]).parent, *more, *flags_of(given))
            result.append(without_config(files))
            saved = load_checkpoint(tmp_path / folder / stage / "best.tar")["config"]
            assert saved.items() >= {key: given[key] for key in changes if key in given}.items()
    assert result[0] == result[1]


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
