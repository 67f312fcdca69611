"""What reaches into Snakemake fits its installed version."""

import importlib.metadata
import logging
from types import SimpleNamespace

import pytest
from snakemake.logging import DefaultFormatter
from snakemake.spawn_jobs import SpawnedJobArgsFactory
from snakemake_interface_logger_plugins.common import LogEvent

from worldmodels.workflow import snakemake_internals as internals

FILES = [f"rollouts/{i:05d}.npz" for i in range(10_000)]


def test_internals_are_those_of_the_installed_version():
    assert importlib.metadata.version("snakemake") == internals.CHECKED_VERSION


def job_info(rule: str) -> logging.LogRecord:
    record = logging.LogRecord("snakemake", logging.INFO, "", 0, f" Rule: {rule}", (), None)
    parts = {
        "event": LogEvent.JOB_INFO, "rule_name": rule, "rule_msg": None, "jobid": 1, "local": False, "threads": 1,
        "is_checkpoint": False, "input": FILES, "output": FILES[:2], "log": [], "benchmark": None, "priority": 0,
        "reason": f"Missing output files: {', '.join(FILES)}", "wildcards": {}, "resources": {},
        "shellcmd": f"python x.py {' '.join(FILES)}",
    }  # fmt: skip
    record.__dict__.update(parts)
    return record


def shell_command() -> logging.LogRecord:
    command = f"python x.py {' '.join(FILES)}"
    record = logging.LogRecord("snakemake", logging.INFO, "", 0, f"Shell command: {command}", (), None)
    record.__dict__.update(event=LogEvent.SHELLCMD, shellcmd=command, indent=False)
    return record


def messages(is_dry_run: bool) -> internals.ShortMessages:
    return internals.ShortMessages(SimpleNamespace(dryrun=is_dry_run), code_file="code.json")


def test_a_job_is_described_in_short_lines():
    record = job_info("train_vae")
    assert messages(is_dry_run=False).filter(record)
    text = DefaultFormatter().format(record)
    assert max(map(len, text.splitlines())) < 200
    assert "input: rollouts/00000.npz, rollouts/00001.npz, ..., rollouts/09999.npz (10000 files)" in text
    assert "reason: Missing output files: rollouts/00000.npz, " in text


def test_a_shell_command_is_printed_in_a_short_line():
    record = shell_command()
    assert messages(is_dry_run=False).filter(record)
    assert DefaultFormatter().format(record) == (
        "Shell command: python x.py rollouts/00000.npz rollouts/00001.npz ... rollouts/09999.npz (10000 files)"
    )


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_a_dry_run_describes_the_first_jobs_of_a_rule(is_dry_run):
    short = messages(is_dry_run)
    kept = []
    for _ in range(9):
        record = job_info("collect_rollouts")
        kept.append((short.filter(record), short.filter(shell_command())))
    assert short.filter(job_info("train_vae")) and short.filter(shell_command())
    listed = internals.LISTED_JOBS
    described = [(True, True)] * listed + [(True, False)] + [(False, False)] * (8 - listed)
    assert kept == (described if is_dry_run else [(True, True)] * 9)


def test_an_error_is_printed_in_short_lines():
    record = job_info("train_vae")
    job = {"rule_name": "train_vae", "jobid": 1, "output": FILES, "log": []}
    error = {"event": LogEvent.JOB_ERROR, "conda_env": None, "aux": {}}
    record.__dict__.update(error, rule_msg="failed", msg=f"Error: {', '.join(FILES)}")
    group = logging.LogRecord("snakemake", logging.ERROR, "", 0, "", (), None)
    group.__dict__.update(event=LogEvent.GROUP_ERROR, aux_logs=[], job_error_info=[job])
    for each in (record, group):
        assert messages(is_dry_run=False).filter(each)
        text = DefaultFormatter().format(each)
        assert max(map(len, text.splitlines())) < 200 and "rollouts/00000.npz" in text


def workflow(threads: dict | None = None, resources: dict | None = None) -> SimpleNamespace:
    settings = SimpleNamespace(overwrite_threads=threads or {}, overwrite_resources=resources or {}, nodes=None)
    return SimpleNamespace(resource_settings=settings, remote_exec=False)


def test_a_profile_holds_for_the_rules_of_modules():
    flow = workflow({"train_vae": 3, "seed_1_train_vae": 5}, {"collect_rollouts": {"mem_mb": 1}})
    internals.extend_profile(flow, {"collect_rollouts": "collect_last_rollouts"}, ["", "seed_1_", "seed_2_"])
    threads = {"train_vae": 3, "seed_1_train_vae": 5, "seed_2_train_vae": 3}
    assert threads.items() <= flow.resource_settings.overwrite_threads.items()
    names = [f"{seed}collect_{which}" for seed in ("", "seed_1_", "seed_2_") for which in ("rollouts", "last_rollouts")]
    assert flow.resource_settings.overwrite_resources == {name: {"mem_mb": 1} for name in names}


def test_only_the_shells_of_cluster_jobs_outlive_sigterm(monkeypatch):
    def precommand(self: object) -> str:
        return "module load cuda"

    monkeypatch.setattr(SpawnedJobArgsFactory, "precommand", precommand)
    internals.keep_shells_alive(SimpleNamespace(remote_exec=False))
    assert SpawnedJobArgsFactory.precommand is precommand
    for _ in range(2):  # the Snakefile of a run, and that of a module in it
        internals.keep_shells_alive(SimpleNamespace(remote_exec=True))
        assert SpawnedJobArgsFactory.precommand(None) == "trap : TERM && module load cuda"


class Expression:
    @property
    def value(self):
        raise ValueError("only the job evaluates it")


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, None),
        ({"mem_mb": 5}, 5),
        ({"mem_mb": SimpleNamespace(value=7)}, 7),
        ({"mem_mb": "500*attempt"}, float("inf")),
        ({"mem_mb": Expression()}, float("inf")),
    ],
)
def test_memory_of_a_rule_is_what_the_profile_gives(given, expected):
    assert internals.given_memory(workflow(resources={"train_controller": given}), "train_controller") == expected
