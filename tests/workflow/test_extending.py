"""The examples of docs/extending.md run, each after the page's first run."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from helpers.programs import ROOT, planned, run_snakemake
from helpers.sharing import fill_once

PAGE = (ROOT / "docs/extending.md").read_text()
FILES = dict(re.findall(r"```\w+ title=(\S+)\n(.*?)```", PAGE, re.S))
COMMANDS = re.findall(r"```sh\nsnakemake (.*?)\n```", PAGE)
ABLATION = f"{COMMANDS[0]} -- ablation"
# What of the chain an example runs again, after a run without changes.
AGAIN = {
    "vae={model: 'my_vae:DenseVAE'}": {"train_vae", "encode_latents", "train_mdrnn", "train_controller", "evaluate"},
    "mdrnn={cell: gru, num_layers: 2, gmm_components: 3}": {"train_mdrnn", "train_controller", "evaluate"},
    "mdrnn={num_epochs: 0}": {"train_mdrnn", "train_controller", "evaluate"},
    "ctrl={features: zhc, hidden: [16]}": {"train_controller", "evaluate"},
    "ctrl={cma: {CMA_diagonal: true}}": {"train_controller", "evaluate"},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The page's files and its first run: not to be changed."""

    def fill(run: Path) -> None:
        for name, text in FILES.items():
            (run / name).write_text(text)
        run_snakemake(*flags(COMMANDS[0]), cwd=run)

    return fill_once(tmp_path_factory, "extending", fill)


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def flags(command: str) -> list[str]:
    return shlex.split(command)


def changes(command: str) -> str:
    given = flags(command)
    return given[given.index("--config") + 1] if "--config" in given else ""


def chain(jobs: dict[str, int]) -> set[str]:
    """The planned jobs of the chain itself, without those of the figures."""
    return {job for job in jobs if not job.startswith("plot_") and job not in ("all", "dream", "replay_episodes")}


def test_the_page_has_its_examples():
    assert set(FILES) == {"my_env.py", "mine.yaml", "my_vae.py", "short.yaml", "crop.py"}
    assert [changes(c) for c in COMMANDS if changes(c)] == list(AGAIN)
    assert [c for c in COMMANDS if not changes(c)] == [COMMANDS[0], ABLATION]


def test_any_gymnasium_environment_is_one_line(tmp_path):
    command = re.search(r"\n    snakemake (.*)", PAGE)[1]
    jobs = planned(run_snakemake("-n", *flags(command), cwd=tmp_path).stdout)
    assert jobs["collect_rollouts"] == 8 and jobs["evaluate"] == 1


def test_four_short_episodes(tmp_path):
    (tmp_path / "short.yaml").write_text(FILES["short.yaml"])
    command = re.search(r"\n    snakemake (.*short.yaml.*)", PAGE)[1]
    run_snakemake(*flags(command), cwd=tmp_path)
    assert len(list((tmp_path / "results/try/rollouts").glob("*.npz"))) == 4


def test_the_crop_is_seen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(FILES["crop.py"], {})
    assert capsys.readouterr().out == "(400, 600, 3)\n" and (tmp_path / "seen.png").exists()


def test_the_environment(finished):
    assert json.loads((finished / "results/reach/eval.json").read_text())["env"] == "Reach-v0"


@pytest.mark.parametrize("command", [c for c in COMMANDS if changes(c)], ids=changes)
def test_what_an_example_runs_again(command, folder):
    jobs = planned(run_snakemake("-n", *flags(command), cwd=folder).stdout)
    assert chain(jobs) == AGAIN[changes(command)]
    figures = any(word in command for word in ("DenseVAE", "num_epochs: 0"))  # another V; an empty history
    target = [] if figures else ["--", "evaluate"]
    run_snakemake(*flags(command), *target, cwd=folder)
    assert planned(run_snakemake("-n", *flags(command), *target, cwd=folder).stdout) == {}


def test_an_edit_of_the_network_is_noticed(folder):
    command = [*next(flags(c) for c in COMMANDS if "DenseVAE" in c), "--", "vae"]
    run_snakemake(*command, cwd=folder)
    (folder / "my_vae.py").write_text(FILES["my_vae.py"].replace("nn.ReLU()", "nn.ELU()"))
    assert "train_vae" in planned(run_snakemake("-n", *command, cwd=folder).stdout)
    (folder / "my_vae.py").write_text("# a comment\n" + FILES["my_vae.py"])
    assert planned(run_snakemake("-n", *command, cwd=folder).stdout) == {}


def test_an_edit_of_the_environment_is_noticed(folder):
    (folder / "my_env.py").write_text(FILES["my_env.py"].replace("2 if action", "3 if action"))
    jobs = planned(run_snakemake("-n", *flags(COMMANDS[0]), cwd=folder).stdout)
    assert chain(jobs) == {
        "collect_rollouts",
        "train_vae",
        "encode_latents",
        "train_mdrnn",
        "train_controller",
        "evaluate",
    }


def test_the_ablation(folder):
    """Rollouts and V are those of the run, M but for the untrained one; what was done is not done again."""
    command = flags(ABLATION)
    jobs = planned(run_snakemake("-n", *command, cwd=folder).stdout)
    variants = ("v_only", "v_hidden", "random_m")
    trained = {f"ablation_{name}_{rule}" for name in variants for rule in ("train_controller", "evaluate")}
    linked = {f"ablation_{name}_link_shared" for name in variants}
    assert set(jobs) == trained | linked | {"ablation_random_m_train_mdrnn", "ablation", "compare_agents"}
    assert all(jobs[rule] == 1 for rule in trained)
    run_snakemake(*command, cwd=folder)
    result = folder / "results/reach/ablation"
    agents = json.loads((result / "ablation.json").read_text())["agents"]
    assert list(agents) == ["v_only", "v_hidden", "random_m", "full"]
    assert agents["full"]["mean"] == json.loads((folder / "results/reach/eval.json").read_text())["mean"]
    assert (result / "ablation.md").read_text().count("\n") == 6 and (result / "ablation.png").stat().st_size > 5000
    for name in agents:
        if name != "full":
            assert (result / name / "vae/best.tar").resolve() == (folder / "results/reach/vae/best.tar").resolve()
    trained = json.loads((result / "random_m/mdrnn/best.json").read_text())
    assert trained["epoch"] == 0 and trained["history"] == []
    assert planned(run_snakemake("-n", *command, cwd=folder).stdout) == {}
    more = [*flags(COMMANDS[0]), "--config", "mdrnn={num_epochs: 3}", "--", "ablation"]
    jobs = planned(run_snakemake("-n", *more, cwd=folder).stdout)
    assert (
        jobs["train_mdrnn"] == jobs["train_controller"] == 1
        and {"ablation_v_only_train_controller", "ablation_v_hidden_train_controller"} <= set(jobs)
        and "ablation_random_m_train_controller" not in jobs
        and "train_vae" not in jobs
    )
