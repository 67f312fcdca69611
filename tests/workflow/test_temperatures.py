"""`snakemake temperatures` trains one C per temperature in dreams, and tests each C in the environment."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from helpers.programs import ROOT, planned, run_script, run_snakemake
from helpers.sharing import fill_once

TINY = {
    "logdir": "run",
    "env": {"id": "Dot-v0", "import": "my_dots", "height": 32, "width": 32},
    "rollouts": {"num_rollouts": 4, "shard_size": 2, "seq_len": 20},
    "vae": {"latent_size": 4, "num_epochs": 1, "images_per_epoch": 32, "num_test_files": 1},
    "mdrnn": {"hidden_size": 8, "seq_len": 8, "num_epochs": 1, "num_test_files": 1},
    "ctrl": {"pop_size": 4, "num_generations": 2, "validation_interval": 1, "validation_episodes": 2, "max_workers": 1},
    "evaluate": {"num_episodes": 2},
}
TARGET = ("--cores", 2, "--configfile", "tiny.yaml", "--", "temperatures")


def with_values(*values: str) -> list:
    return [*TARGET[:-2], "--config", *values, *TARGET[-2:]]


def without_links(jobs: dict[str, int]) -> set[str]:
    """The planned jobs but for links."""
    return {job for job in jobs if not job.endswith("_link_shared")}


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> Path:
    """A tiny run and its temperatures 0.5 and 1, in a folder of its own: not to be changed."""

    def make(folder: Path) -> None:
        shutil.copy(ROOT / "tests/samples/own/my_dots.py", folder)
        (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
        run_snakemake(*with_values("temperatures=[1, 0.5]"), cwd=folder)

    return fill_once(tmp_path_factory, "temperatures", make)


def test_each_temperature_has_a_controller_that_is_tested_in_the_environment(compared):
    folder = compared / "run/temperatures"
    result = json.loads((folder / "temperatures.json").read_text())
    assert result["env"] == "Dot-v0" and [row["temperature"] for row in result["temperatures"]] == [0.5, 1.0]
    for row in result["temperatures"]:
        run = folder / str(row["temperature"])
        test, controller = json.loads((run / "eval.json").read_text()), json.loads((run / "ctrl/best.json").read_text())
        assert row["environment"]["mean"] == test["mean"] and row["environment"]["episodes"] == 2
        assert row["dream"]["mean"] == controller["reward"] and row["dream"]["steps"] == controller["dream_steps"] > 0
        assert f"--temperature {row['temperature']} " in controller["origin"]["options"]
        assert test["env_steps"] == {"rollouts": 80, "controller": 0, "total": 80}
        assert (run / "mdrnn/best.tar").resolve() == (compared / "run/mdrnn/best.tar").resolve()
    returns = [
        episode["return"]
        for shard in sorted((compared / "run/rollouts").glob("*.json"))
        for episode in json.loads(shard.read_text())["episodes"].values()
    ]
    assert result["rollouts"]["mean"] == pytest.approx(sum(returns) / 4) and result["rollouts"]["episodes"] == 4
    assert (folder / "temperatures.png").stat().st_size > 5000
    assert not (compared / "run/ctrl").exists()  # the run's own C is not needed


def test_another_temperature_trains_only_its_controller(compared):
    assert planned(run_snakemake("-n", *with_values("temperatures=[0.5, 1.0]"), cwd=compared).stdout) == {}
    jobs = planned(run_snakemake("-n", *with_values("temperatures=[0.5, 1.15, 1.0]"), cwd=compared).stdout)
    new = {"temperature_1_15_train_controller_in_dream", "temperature_1_15_evaluate"}
    assert without_links(jobs) == {*new, "compare_temperatures", "temperatures"}


def test_a_change_of_c_is_a_change_of_each_temperature(compared):
    jobs = planned(
        run_snakemake("-n", *with_values("temperatures=[0.5, 1]", "ctrl={pop_size: 5}"), cwd=compared).stdout
    )
    stages = {
        f"temperature_{name}_{rule}" for name in ("0_5", "1_0") for rule in ("train_controller_in_dream", "evaluate")
    }
    assert without_links(jobs) == {*stages, "compare_temperatures", "temperatures"}


def test_a_run_that_learns_at_one_of_the_temperatures_is_not_trained_twice(tmp_path):
    values = ["temperatures=[1, 2]", "ctrl={world: dream, temperature: 1}"]
    jobs = planned(run_snakemake("-n", "--cores", 2, "--config", *values, "--", "temperatures", cwd=tmp_path).stdout)
    assert jobs["train_controller_in_dream"] == jobs["temperature_2_0_train_controller_in_dream"] == 1
    assert not any(job.startswith("temperature_1_0") for job in jobs)


def test_temperatures_by_default_are_the_papers_and_keep_what_a_profile_says(tmp_path):
    given = ["--set-resources", "train_controller_in_dream:mem_mb=1234", "--", "temperatures"]
    output = run_snakemake("-n", "--cores", 2, *given, cwd=tmp_path).stdout
    jobs = planned(output)
    controllers = {f"temperature_{name}_train_controller_in_dream" for name in ("0_1", "0_5", "1_0", "1_15", "1_3")}
    assert controllers == {job for job in jobs if "train_controller" in job} and jobs["train_mdrnn"] == 1
    assert output.count(" mem_mb=1234, ") == 5


def test_a_run_of_a_sweep_has_temperatures(tmp_path):
    values = ["seeds=[4, 5]", "temperatures=[3]"]
    given = ["-n", "--cores", 2, "--config", *values, "--", "seed_4_temperatures"]
    jobs = planned(run_snakemake(*given, cwd=tmp_path).stdout)
    controllers = {job for job in jobs if "train_controller" in job}
    assert controllers == {"seed_4_temperature_3_0_train_controller_in_dream"}


def test_wrong_temperatures_are_one_line(tmp_path):
    ended = run_snakemake("-n", "--config", "temperatures=[0.5, x]", cwd=tmp_path, check=False)
    output = ended.stdout + ended.stderr
    assert ended.returncode == 1 and "Traceback" not in output
    message = "config: temperatures: expected a list of numbers of at least 0, found [0.5, 'x']"
    assert output.strip().splitlines()[-1] == message


def test_an_m_without_rewards_has_no_temperatures(tmp_path):
    given = ["-n", "--cores", 1, "--config", "mdrnn={include_reward: false}"]
    assert "train_controller" in planned(run_snakemake(*given, cwd=tmp_path).stdout)
    ended = run_snakemake(*given, "--", "temperatures", cwd=tmp_path, check=False)
    output = ended.stdout + ended.stderr
    assert ended.returncode == 1 and "Traceback" not in output
    assert "config: mdrnn.include_reward: expected true, since C learns in dreams, found false" in output


def compare(folder: Path, env: str, *temperatures: float, std: float | None = 2.0):
    """Run compare_temperatures on scores that depend on the temperature, and on two rollouts."""
    for each in temperatures:
        test = {"env": env, "mean": 10 * each, "std": std, "mean_95_interval": None, "episodes": 7, "env_steps": {}}
        (folder / f"{each}.test.json").write_text(json.dumps(test))
        (folder / f"{each}.ctrl.json").write_text(json.dumps({"reward": 100 * each, "dream_steps": 5}))
    shard = {"episodes": {"0.npz": {"return": 1.0}, "1.npz": {"return": 2.0}}}
    (folder / "shard.json").write_text(json.dumps(shard))
    files = [[folder / f"{each}.{kind}.json" for each in temperatures] for kind in ("ctrl", "test")]
    lists = ["--temperatures", *temperatures, "--controllers", *files[0], "--tests", *files[1]]
    run_script("compare_temperatures", "--output", folder, *lists, "--rollouts", folder / "shard.json")
    return (folder / "temperatures.md").read_text().splitlines()


def test_the_papers_scores_stand_beside_those_of_its_environment(tmp_path):
    table = compare(tmp_path, "VizdoomTakeCover-v1", 1.15, 2.0)
    assert table[2:] == [
        "| 1.15 | 115.0 | 11.5 +- 2.0 | 7 | 918 +- 546 | 1092 +- 556 |",
        "| 2 | 200.0 | 20.0 +- 2.0 | 7 | - | - |",
        "| rollouts | - | 1.5 +- 0.7 | 2 | - | 210 +- 108 (random policy) |",
    ]
    rows = json.loads((tmp_path / "temperatures.json").read_text())["temperatures"]
    assert rows[0]["paper"] == {"dream": [918, 546], "environment": [1092, 556]} and rows[1]["paper"] is None


def test_scores_of_another_environment_stand_alone(tmp_path):
    table = compare(tmp_path, "Dot-v0", 1.0, std=None)
    assert table == [
        "| temperature | score in the dream | score in Dot-v0 | episodes |",
        "| --- | --- | --- | --- |",
        "| 1 | 100.0 | 10.0 | 7 |",
        "| rollouts | - | 1.5 +- 0.7 | 2 |",
    ]
