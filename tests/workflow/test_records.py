"""Where Snakemake has no record, a product's summary says what it was made with."""

import json
import os
import shutil

from helpers.programs import planned, run_snakemake
from worldmodels.storage.files import write_json

NOT_HELD_OUT = ["vae={num_test_files: 0}", "mdrnn={num_test_files: 0, seq_len: 2}"]


def test_rollouts_of_another_agent_are_stale_without_records(tiny_run, tmp_path):
    """Each agent's files are older than the rollouts."""
    for name in ("a", "b"):
        for stage in ("vae", "mdrnn", "ctrl"):
            shutil.copytree(tiny_run / stage, tmp_path / name / stage)
    summary = json.loads((tmp_path / "b/ctrl/best.json").read_text())
    write_json(tmp_path / "b/ctrl/best.json", {**summary, "note": "another search's"})
    for path in tmp_path.glob("[ab]/*/*"):
        os.utime(path, (1e9, 1e9))

    def collect(agent: str, *flags: str) -> dict[str, int]:
        values = f"{{policy: agent, agent: {agent}, num_rollouts: 1, seq_len: 2}}"
        more = ["--config", "logdir=run", f"rollouts={values}", *NOT_HELD_OUT, "--", "rollouts"]
        return planned(run_snakemake("--cores", 1, *flags, *more, cwd=tmp_path).stdout)

    collect("a")
    shutil.rmtree(tmp_path / ".snakemake")
    assert collect("a", "-n") == {} and collect("b", "-n") == {"rollouts": 1, "collect_last_agent_rollouts": 1}
    for path in tmp_path.glob("[ab]/*/*"):
        path.touch()  # newer than the rollouts, as a copy without time stamps may be
    assert collect("a", "-n") == {} and collect("b", "-n") == {"rollouts": 1, "collect_last_agent_rollouts": 1}
