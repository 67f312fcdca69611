"""After an edit exactly what the edit made stale runs again: the matrix.

Each row makes one edit in a copy of the repository beside a finished run of the smoke preset, and compares the
rules that a dry run would execute with those expected. `pytest tests/workflow/test_staleness.py -s` prints the matrix.

An edit of the library acts through the fingerprints of the programs that import it. The matrix therefore has a row for
each program, and one for each package; the other modules are looked up among the programs' imports. `--thorough` gives
each module, and each key without effect, a row of its own.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from helpers.programs import ROOT, SMOKE, planned, run_snakemake
from worldmodels.runtime.config import SECTIONS
from worldmodels.runtime.library import PACKAGE, program_modules
from worldmodels.runtime.settings import COUNT, RUNTIME, config_key, settable

STAGES = (
    "collect_rollouts", "train_vae", "encode_latents", "train_mdrnn", "train_controller", "evaluate_shard", "evaluate",
)  # fmt: skip
# The rules of figures, and the last stage whose files each of them reads.
FIGURES = {
    "plot_vae": "train_vae", "plot_mdrnn": "train_mdrnn", "plot_controller": "train_controller",
    "dream": "train_controller", "replay_episodes": "evaluate",
    "plot_evaluation": "evaluate", "plot_run": "evaluate",
}  # fmt: skip
DREAMING = "train_controller_in_dream"  # in place of train_controller if C learns in M's dreams
PLOTS = {rule for rule in FIGURES if rule.startswith("plot_")}
EVERY = (*STAGES, *FIGURES)
PRESET = {key: value for file in SMOKE for key, value in yaml.safe_load((ROOT / file).read_text()).items()}
Edit = Callable[[Path, Path], list]  # (repository, working directory) -> flags for Snakemake


def since(stage: str) -> set[str]:
    """A stage and all after it, with the figures that show any of them."""
    stages = set(STAGES[STAGES.index(stage) :]) - {"evaluate_shard"}
    return stages | {rule for rule, last in FIGURES.items() if last in stages}


def flags(*values: str) -> Edit:
    return lambda repo, work: list(values)


def replace(file: str, old: str, new: str) -> Edit:
    def edit(repo: Path, work: Path) -> list:
        text = (repo / file).read_text()
        assert old in text
        (repo / file).write_text(text.replace(old, new, 1))
        return []

    return edit


def append(file: str, text: str) -> Edit:
    def edit(repo: Path, work: Path) -> list:
        with open(repo / file, "a") as opened:
            opened.write(text)
        return []

    return edit


def set_values(section: str, values: dict) -> Edit:
    return flags("--config", f"{section}={json.dumps(values)}")


def touch(repo: Path, work: Path) -> list:
    for path in [*repo.rglob("*"), *work.rglob("results/**/*")]:
        path.touch()
    return []


def clone(repo: Path, work: Path) -> list:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(repo)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    repo.rename(repo.with_name("origin"))
    subprocess.run(["git", "clone", "-q", str(repo.with_name("origin")), str(repo)], check=True)
    return []


def move_results(repo: Path, work: Path) -> list:
    """The run's folder under another name; Snakemake is started elsewhere and told with --directory."""
    work.rename(work.with_name("moved"))
    work.mkdir()
    return ["--directory", str(work.with_name("moved"))]


def comment_everywhere(repo: Path, work: Path) -> list:
    for path in (repo / "scripts").rglob("*.py"):
        code = path.read_text().replace("\nimport ", "\n# and here\nimport ")
        path.write_text(f"# a comment\n{code}\n# the end\n")
    for path in [*(repo / "rules").rglob("*.smk"), repo / "Snakefile", *(repo / "envs").glob("*.yaml")]:
        path.write_text(f"# a comment\n{path.read_text()}")
    return []


def reorder(repo: Path, work: Path) -> list:
    def backwards(value):
        return {key: backwards(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    whole = yaml.safe_load((repo / "config.yaml").read_text())
    (repo / "config.yaml").write_text(yaml.safe_dump(backwards(whole), sort_keys=False))
    return []


def lose(file: str) -> Edit:
    def edit(repo: Path, work: Path) -> list:
        (work / "results/smoke" / file).unlink()
        return []

    return edit


def lose_records(*values: str) -> Edit:
    """The results without .snakemake, as copied from another machine, under a configuration with these values."""

    def edit(repo: Path, work: Path) -> list:
        shutil.rmtree(work / ".snakemake")
        return ["--config", *values] if values else []

    return edit


def copy_without_times(repo: Path, work: Path) -> list:
    """Copied without records and time stamps: each file is newer than what was made from it, figures are newest."""
    lose_records()(repo, work)
    files = [path for path in (work / "results").rglob("*") if path.is_file()]
    ages = {"rollouts": 9, "vae": 8, "latents": 7, "mdrnn": 6, "ctrl": 5, "smoke": 4}
    for path in files:
        os.utime(path, (1e9 + ages.get(path.parent.name, 10),) * 2)
    return []


def absolute(*values: str) -> Edit:
    return lambda repo, work: ["--config", f"logdir={work}/results//smoke/", *values]


def rollouts_elsewhere(*values: str) -> Edit:
    """The rollouts lie where another working directory's run collected them."""

    def edit(repo: Path, work: Path) -> list:
        source, elsewhere = work / "results/smoke/rollouts", work.with_name("elsewhere") / "rollouts"
        shutil.copytree(source, elsewhere)
        return ["--config", f"data_dir={elsewhere}", *values]

    return edit


def older_rollouts(repo: Path, work: Path) -> list:
    """Without records, a data_dir with another first shard, of the same configuration and older than V."""
    lose_records()(repo, work)
    elsewhere = work / "elsewhere"
    shutil.copytree(work / "results/smoke/rollouts", elsewhere)
    summary = json.loads((elsewhere / "00000.json").read_text())
    (elsewhere / "00000.json").write_text(json.dumps({**summary, "note": "another machine's"}))
    for path in elsewhere.iterdir():
        os.utime(path, (1e9, 1e9))
    return ["--config", f"data_dir={elsewhere}"]


def collect_elsewhere(repo: Path, work: Path) -> list:
    """A run of another working directory, with another seed, writes this run's rollouts again."""
    for path in (work / "results/smoke/rollouts").iterdir():
        content = path.read_text().replace("--seed 1 ", "--seed 7 ") if path.suffix == ".json" else None
        if content:
            path.write_text(content)
        path.touch()
    return []


def other(f: dataclasses.Field, value):
    """Another legal value of this field, or None if there is none."""
    meta = f.metadata
    if f.name in ("height", "width"):
        return 96
    if f.name == "model":
        return "worldmodels.models.vae:ConvVAE"
    if f.name == "import_":
        return "json"  # a module with a source
    if f.name == "hidden":
        return [8]
    if f.name in ("start", "source"):
        return None  # they need files: see test_iterations.py and test_sharing.py
    if f.name == "mixture":
        return {"ou": 1.0}
    if f.name == "cma":
        return {"CMA_diagonal": True}
    if f.name == "squash":
        return ["clip_tanh"]
    if f.type is bool:
        return not value
    if f.type is str:
        return next(c for c in meta["choices"] if c != value) if meta["choices"] else f"{value}-other".lstrip("-")
    if f.type is dict:
        return {**value, "other": 1}
    if f.name == "crop":
        return [1, 2, 3, 4]
    if isinstance(value, list):
        return [v + 0.1 for v in value]
    changed = value + 1 if f.type is int else value * 1.5 or 0.5
    return None if meta["high"] is not None and changed > meta["high"] else changed


# Keys without effect under the smoke preset: no agent drives, a few epochs are fewer than every patience, all frames
# fit the memory, half of one episode a candidate is none on a hard track, and C learns in no dream.
IDLE = {
    "rollouts.agent_noise", "rollouts.source_frames", "vae.scheduler_patience", "vae.scheduler_factor",
    "vae.early_stopping_patience", "vae.memory_gb", "mdrnn.scheduler_patience", "mdrnn.scheduler_factor",
    "mdrnn.early_stopping_patience", "ctrl.hard_share", "ctrl.temperature",
}  # fmt: skip


# Program -> what an edit of it makes stale.
PROGRAMS = {
    **{
        name: since(name)
        for name in (
            "collect_rollouts", "train_vae", "encode_latents", "train_mdrnn", "train_controller", "evaluate",
        )
    },
    "plot_vae": {"plot_vae"}, "plot_mdrnn": {"plot_mdrnn"}, "plot_controller": {"plot_controller"}, "dream": {"dream"},
    "replay_episodes": {"replay_episodes", "plot_evaluation"}, "plot_evaluation": {"plot_evaluation"},
    "plot_run": {"plot_run"},
    "collect_agent_rollouts": set(), "compare_agents": set(), "compare_runs": set(),  # not in the smoke run
    "compare_temperatures": set(), DREAMING: set(), "compare_iterations": set(), "refit_controller": set(),  # nor these
    "import_rollouts": set(), "install_agent": set(), "export_agent": set(),  # nor these
    "play": set(),  # no rule runs it
}  # fmt: skip
FILMS = {"dream", "replay_episodes", "plot_evaluation"}
# What an edit makes stale -> the modules of the library.
READERS = [
    (
        since("collect_rollouts"),
        "storage/files storage/npz envs/actions envs/backends envs/frames envs/instances envs/first_start",
    ),
    (since("collect_rollouts"), "envs/lanes envs/making envs/pictures envs/reuse envs/seeding"),
    (since("collect_rollouts"), "data/policies data/recording data/shards data/collection"),
    (since("train_vae"), "storage/checkpoints storage/tensors storage/states"),
    (since("train_vae"), "models/vae models/load_weights models/precision models/cuda_graphs"),
    (since("train_vae"), "data/episodes data/datasets training/loop training/early_stopping"),
    (since("train_vae"), "training/graphed_step training/vae training/samples"),
    (since("encode_latents") | {"plot_vae"}, "models/load_vae models/encoding"),
    (since("encode_latents"), "data/latents"),
    (since("train_mdrnn"), "models/mdrnn data/sequences training/mdrnn"),
    (since("train_controller") | {"plot_mdrnn"}, "models/load_mdrnn"),
    (since("train_controller"), "models/controller models/load_controller playing/agent"),
    (
        since("train_controller"),
        "playing/episodes playing/graphed_function search/base search/cma_es search/gradient",
    ),
    (since("train_controller"), "search/evaluator search/environment_player search/candidates training/controller"),
    (since("train_controller"), "training/controller_in_environment training/search_loop training/tracks"),
    (since("train_controller"), "training/history training/start playing/workers"),
    (since("evaluate") | {"dream"}, "playing/evaluation playing/scores"),
    (PLOTS, "showing/figures"),
    ({"plot_mdrnn"}, "playing/likelihood showing/endings"),
    ({"plot_evaluation", "plot_run"}, "showing/tables"),
    ({"replay_episodes", "plot_evaluation"}, "playing/replays"),
    (FILMS, "showing/films"),
    ({"dream"}, "playing/watching showing/screen showing/window showing/keyboard"),
    (FILMS | {"plot_mdrnn"}, "playing/dreams"),
    (FILMS | {"plot_mdrnn", "plot_vae"}, "models/decoding"),
    (set(), "data/agent_policy training/refit"),  # no agent drives
    (set(), "data/importing showing/model_card"),  # nothing is imported or exported
    (
        set(),
        "playing/dream_episodes search/dream_player training/controller_in_dream models/mdrnn_bfloat16",
    ),  # C learns in the environment
]
MODULES = {name: stale for stale, names in READERS for name in names.split()}
LIBRARY = [path.relative_to(PACKAGE).with_suffix("").as_posix() for path in sorted(PACKAGE.rglob("*.py"))]
# What is in these folders, and the lists of names that packages export, cannot change a result.
NEUTRAL = [name for name in LIBRARY if name.startswith(("runtime/", "workflow/")) or name.endswith("__init__")]
# A module of each of the other packages.
PACKAGES = (
    "storage/files", "envs/lanes", "models/vae", "data/sequences", "playing/agent", "search/cma_es", "training/mdrnn",
    "showing/films",
)  # fmt: skip


def edit_code(*files: str) -> Edit:
    def edit(repo: Path, work: Path) -> list:
        for file in files:
            append(f"scripts/{file}.py", "\nEDITED = 1\n")(repo, work)
        return []

    return edit


def rows(thorough: bool) -> dict[str, tuple[Edit, set[str]]]:
    """Return the matrix: what is edited -> the edit, and the rules that it makes stale."""
    nothing: set[str] = set()
    table: dict[str, tuple[Edit, set[str]]] = {
        "nothing": (flags(), nothing),
        "touch every file": (touch, nothing),
        "fresh git clone beside the old results": (clone, nothing),
        "results moved, --directory elsewhere": (move_results, nothing),
        "another --cores": (flags("--cores", "1"), nothing),
        "another logdir, the same rollouts": (
            flags("--config", "logdir=results/other", "data_dir=results/smoke/rollouts"), since("train_vae"),
        ),
        "device, tensorboard": (flags("--config", "device=cpu", "tensorboard=false"), nothing),
        "a comment in every file": (comment_everywhere, nothing),
        "keys of config.yaml reordered": (reorder, nothing),
        "a docstring": (replace("scripts/worldmodels/models/vae.py", '"""V: the', '"""V, the'), nothing),
        "reformatting": (replace("scripts/worldmodels/models/vae.py", "self.fc(z)", "(self\n .fc(z))"), nothing),
        "seed": (flags("--config", "seed=2"), since("collect_rollouts")),
        "two values exchanged": (flags("--config", "vae={learning_rate: 1.0, beta: 0.001}"), since("train_vae")),
        "num_rollouts raised": (set_values("rollouts", {"num_rollouts": 12}), since("collect_rollouts")),
        "num_rollouts raised to no whole shard": (
            set_values("rollouts", {"num_rollouts": 10}), since("train_vae") | {"collect_last_rollouts"},
        ),
        "num_rollouts lowered": (set_values("rollouts", {"num_rollouts": 4}), since("train_vae")),
        "num_rollouts lowered to no whole shard": (set_values("rollouts", {"num_rollouts": 7}), since("train_vae")),
        "one rollout lost": (lose("rollouts/00001_0002.npz"), since("collect_rollouts")),
        "V lost": (lose("vae/best.tar"), since("train_vae")),
        "the latents lost": (lose("latents/latents_32.npz"), since("encode_latents")),
        "eval.json lost": (lose("eval.json"), since("evaluate")),
        "a figure lost": (lose("report/vae_worst.png"), {"plot_vae"}),
        "a film lost": (lose("report/best.gif"), {"replay_episodes", "plot_evaluation"}),
        "a caption": (append("report/vae_worst.rst", "More."), nothing),
        "the history of C lost": (lose("ctrl/history.csv"), since("train_controller")),
        "a benchmark lost": (lose("benchmarks/train_vae.tsv"), nothing),
        "logdir with ./, seed": (flags("--config", "logdir=./results/smoke", "seed=2"), since("collect_rollouts")),
        "logdir absolute, with // and / at the end": (absolute(), nothing),
        "logdir absolute, seed": (absolute("seed=2"), since("collect_rollouts")),
        "records lost": (lose_records(), nothing),
        "records lost, seed": (lose_records("seed=2"), since("collect_rollouts")),
        "records lost, vae.beta": (lose_records("vae={beta: 2.0}"), since("train_vae")),
        "records lost, evaluate.num_episodes": (lose_records("evaluate={num_episodes: 3}"), since("evaluate")),
        "records lost, num_rollouts lowered": (lose_records("rollouts={num_rollouts: 7}"), since("train_vae")),
        "records and time stamps lost": (copy_without_times, nothing),
        "records lost, data_dir of other, older summaries": (older_rollouts, since("train_vae")),
        "data_dir of another working directory": (rollouts_elsewhere(), since("train_vae")),
        "data_dir of another working directory, seed": (rollouts_elsewhere("seed=2"), since("collect_rollouts")),
        "rollouts collected again by another working directory": (collect_elsewhere, since("collect_rollouts")),
    }  # fmt: skip
    first = {
        "env": "collect_rollouts", "rollouts": "collect_rollouts", "vae": "train_vae", "latents": "train_mdrnn",
        "mdrnn": "train_mdrnn", "ctrl": "train_controller",
    }  # fmt: skip
    for section, cls in SECTIONS.items():
        idle = {}
        for f in settable(cls):
            key = config_key(f)
            value = other(f, PRESET.get(section, {}).get(key, getattr(cls(), f.name)))
            if value is None or f.metadata["role"] == COUNT or f"{section}.{key}" == "evaluate.shards":
                continue  # these have rows of their own
            if f.metadata["role"] == RUNTIME or f"{section}.{key}" in IDLE:
                idle[key] = value
            else:
                table[f"{section}.{key}"] = (set_values(section, {key: value}), since(first.get(section, section)))
        if idle:
            table[f"{section}: {' '.join(idle)}"] = (set_values(section, idle), nothing)
        if thorough:
            table |= {f"{section}.{key}": (set_values(section, {key: idle[key]}), nothing) for key in idle}
    table["ctrl.world"] = (
        set_values("ctrl", {"world": "dream"}), since("train_controller") - {"train_controller"} | {DREAMING},
    )  # fmt: skip
    table["rollouts.shard_size"] = (set_values("rollouts", {"shard_size": 2}), since("collect_rollouts"))
    table["latents.encode_batch_size"] = (set_values("latents", {"encode_batch_size": 7}), since("encode_latents"))
    # Other jobs play the test; they do not look for what one job has played.
    table["evaluate.shards"] = (set_values("evaluate", {"shards": 2}), {"evaluate_shard"} | since("evaluate"))
    for name, stale in PROGRAMS.items():
        table[f"code of {name}.py"] = (edit_code(name), stale)
    for name in MODULES if thorough else PACKAGES:
        table[f"code of worldmodels/{name}.py"] = (edit_code(f"worldmodels/{name}"), MODULES[name])
    table["code of every module of runtime/ and workflow/"] = (
        edit_code(*(f"worldmodels/{name}" for name in NEUTRAL)), nothing,
    )  # fmt: skip
    return table


# Row -> the number of jobs of a rule: only new and lost shards are collected.
COUNTS = {
    "num_rollouts raised": {"collect_rollouts": 1},
    "one rollout lost": {"collect_rollouts": 1},
    "seed": {"collect_rollouts": 2},
    "num_rollouts raised to no whole shard": {"collect_last_rollouts": 1},
}


def copy_without_content(source: str, target: str) -> None:
    """Copy a file; one that is too large for Snakemake to read becomes a hole of the same size and age."""
    if os.path.getsize(source) <= 1_000_000:
        shutil.copy2(source, target)
        return
    with open(target, "wb") as file:
        file.truncate(os.path.getsize(source))
    shutil.copystat(source, target)


def copy(smoke: Path, folder: Path, copy_file: Callable = shutil.copy2) -> tuple[Path, Path]:
    """Copies of the repository and of the finished run."""
    repo, work = folder / "repo", folder / "work"
    for name in ("Snakefile", "config.yaml", "rules", "scripts", "presets", "envs", "report", *SMOKE):
        source, target = ROOT / name, repo / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for name in ("results", ".snakemake"):
        shutil.copytree(smoke / name, work / name, copy_function=copy_file)
    return repo, work


def run_smoke(repo: Path, work: Path, *more) -> str:
    files = [repo / file for file in SMOKE]
    process = run_snakemake("--cores", 2, "--configfile", *files, *more, cwd=work, repo=repo)
    return process.stdout + process.stderr


def dry_run(repo: Path, work: Path, *more) -> dict[str, int]:
    return {name: count for name, count in planned(run_smoke(repo, work, "-n", *more)).items() if name != "all"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function is test_row:
        table = rows(metafunc.config.getoption("thorough"))
        metafunc.parametrize("row, edit, stale", [(row, *values) for row, values in table.items()], ids=list(table))


def test_row(row, edit, stale, smoke, tmp_path):
    repo, work = copy(smoke, tmp_path, copy_without_content)
    jobs = dry_run(repo, work, *edit(repo, work))
    shutil.rmtree(tmp_path)
    both = (" ".join(rule for rule in EVERY if rule in rules) or "-" for rules in (stale, jobs))
    print("{:42} | expected {:47} | found {}".format(row, *both))
    assert set(jobs) == stale and COUNTS.get(row, {}).items() <= jobs.items()


def test_dreams(smoke, tmp_path):
    """C learns in M's dreams: what runs again is what dreams depend on, whatever the environment's player does."""
    repo, work = copy(smoke, tmp_path, shutil.copy2)
    dreaming = ["--config", "ctrl={world: dream}"]
    run_smoke(repo, work, *dreaming, "--", "evaluate")
    stale = since("train_controller") - {"train_controller"} | {DREAMING}
    tested = stale - set(FIGURES)
    for edited, expected in {
        "search/environment_player": set(), "playing/episodes": {"evaluate"}, "playing/dream_episodes": tested,
    }.items():  # fmt: skip
        file = repo / f"scripts/worldmodels/{edited}.py"
        text = file.read_text()
        file.write_text(f"{text}\nEDITED = 1\n")
        assert set(dry_run(repo, work, *dreaming, "--", "evaluate")) == expected, edited
        file.write_text(text)
    assert not dry_run(repo, work, *dreaming, "--", "evaluate")
    hotter = ["--config", "ctrl={world: dream, temperature: 1.3}", "--", "evaluate"]
    assert set(dry_run(repo, work, *hotter)) == tested


def test_every_program_has_a_row():
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == set(PROGRAMS)


@pytest.mark.parametrize("module", LIBRARY)
def test_module_makes_stale_what_the_programs_that_import_it_make(module):
    assert module in MODULES or module in NEUTRAL, "a row is missing for a module"
    programs = {name for name in PROGRAMS if PACKAGE / f"{module}.py" in program_modules(ROOT / f"scripts/{name}.py")}
    assert set().union(*(PROGRAMS[name] for name in programs)) == MODULES.get(module, set())


def test_exactly_the_rollouts_that_are_asked_for_are_collected(tmp_path):
    """Where the last shard is smaller, it grows to a whole one; shards that are there stay."""

    def collect(number: int, *flags) -> str:
        values = {"num_rollouts": number, "shard_size": 2, "seq_len": 3}
        sections = {"rollouts": values, "vae": {"num_test_files": 0}, "mdrnn": {"num_test_files": 0, "seq_len": 2}}
        sections |= {"env": {"id": "CartPole-v1"}, "logdir": "run"}
        (tmp_path / "short.yaml").write_text(yaml.safe_dump(sections))
        more = ["--configfile", "short.yaml"]
        return run_snakemake("--cores", 2, *flags, *more, "--", "rollouts", cwd=tmp_path).stdout

    def bytes_of(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}

    collect(3)
    before = bytes_of(tmp_path / "run/rollouts")
    assert list(before) == ["00000_0000.npz", "00000_0001.npz", "00001_0000.npz"]
    for number in (3, 2):
        assert planned(collect(number, "-n")) == {}
    assert planned(collect(5, "-n")) == {"rollouts": 1, "collect_rollouts": 1, "collect_last_rollouts": 1}
    collect(5)
    after = bytes_of(tmp_path / "run/rollouts")
    assert len(after) == 5 and before.items() <= after.items()
    for number in (5, 3):
        assert planned(collect(number, "-n")) == {}


@pytest.fixture
def copied(smoke, tmp_path) -> tuple[Path, Path]:
    return copy(smoke, tmp_path)


def test_a_dry_run_says_what_has_changed(copied):
    repo, work = copied
    append("scripts/worldmodels/models/mdrnn.py", "\nEDITED = 1\n")(repo, work)
    append("scripts/plot_vae.py", "\nEDITED = 1\n")(repo, work)
    targets = ["--", "results/smoke/mdrnn/best.tar", "results/smoke/report/vae_losses.png"]
    output = run_smoke(repo, work, "-n", "--config", "mdrnn={hidden_size: 32}", *targets)
    assert sorted(re.findall(r"reason: (.*)", output)) == [
        "code: scripts/plot_vae.py",
        "mdrnn.hidden_size: 256 -> 32; code: scripts/worldmodels/models/mdrnn.py",
    ]


def test_a_run_that_makes_no_agent_ends_with_the_score_too(copied):
    repo, work = copied
    score = "results/smoke/eval.json\nto look at it: snakemake --report results/smoke/report.html --snakefile"
    assert score in run_smoke(repo, work)
    assert "score: " not in run_smoke(repo, work, "-n")
    (work / "results/smoke/report/ctrl_search.png").unlink()
    output = run_smoke(repo, work)
    assert score in output and "Finished jobid" in output


def test_a_larger_test_only_plays_the_new_tracks(copied):
    repo, work = copied
    before = json.loads((work / "results/smoke/eval.json").read_text())
    more = ["--config", "evaluate={num_episodes: 3}", "--", "evaluate"]
    output = run_smoke(repo, work, *more)
    assert "evaluate: continuing after 2 episodes" in output and "rule train_controller" not in output
    assert "to look at it: snakemake --report results/smoke/report.html --snakefile" in output
    after = json.loads((work / "results/smoke/eval.json").read_text())
    assert after["returns"][:2] == before["returns"] and len(after["returns"]) == 3
    assert dry_run(repo, work, *more) == {}


def test_an_earlier_latent_size_is_not_mistaken_for_the_current_one(copied):
    repo, work = copied
    run_smoke(repo, work, "--config", "vae={latent_size: 8}", "--", "latents")
    assert (work / "results/smoke/latents/latents_8.npz").exists()
    assert set(dry_run(repo, work)) == since("train_vae")


def test_a_larger_budget_continues_and_equals_one_long_run(copied, tmp_path):
    repo, work = copied
    more = ["--config", "vae={num_epochs: 4}", "mdrnn={num_epochs: 5}", "ctrl={num_generations: 5}", "--", "evaluate"]
    output = run_smoke(repo, work, *more)
    assert "continuing after epoch 3" in output and "rule collect_rollouts" not in output
    long = tmp_path / "long"
    shutil.copytree(work / "results/smoke/rollouts", long / "results/smoke/rollouts")
    run_smoke(repo, long, *more)
    for file in ("vae/best.json", "mdrnn/best.json", "ctrl/best.json", "eval.json"):
        first, whole = ((folder / "results/smoke" / file).read_text() for folder in (work, long))
        assert first == whole, file
