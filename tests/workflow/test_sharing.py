"""Episodes of others, packages of agents and published checkpoints work in the programs and in the workflow."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from helpers.programs import planned, run_script, run_snakemake
from worldmodels.models.encoding import encode
from worldmodels.playing.agent import load_agent
from worldmodels.storage.checkpoints import load_checkpoint

CPU = torch.device("cpu")
SMALL = {
    "env": {"max_episode_steps": 60},
    "rollouts": {"shard_size": 2},
    "vae": {"num_epochs": 1, "images_per_epoch": 64, "num_test_files": 1, "latent_size": 8},
    "mdrnn": {"num_epochs": 1, "num_test_files": 1, "hidden_size": 16, "seq_len": 16},
}


def theirs(folder: Path, rollouts: list[str]) -> Path:
    """Five of our episodes as another program would have written them."""
    for number, file in enumerate(rollouts[:5]):
        with np.load(file) as ours:
            arrays = {key: ours[key] for key in ours.files}
        path = folder / f"thread_{number % 2}/rollout_{number}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = arrays["observations"].repeat(2, axis=1).repeat(2, axis=2)[:, :96, :96]
        numbers = {"actions": arrays["actions"].astype(np.float64), "rewards": arrays["rewards"].astype(np.float64)}
        np.savez(path, observations=pictures, terminals=arrays["terminals"] > 0, **numbers)
    return folder


def snakemake(folder: Path, *flags, check: bool = True):
    process = run_snakemake("--cores", 2, "--configfile", folder / "small.yaml", *flags, cwd=folder, check=check)
    return process.stdout + process.stderr


def test_the_episodes_of_others_through_the_workflow(rollouts, tmp_path):
    """They are imported, V and the latents learn from them, and exactly what an edit makes stale runs again."""
    source = theirs(tmp_path / "theirs", rollouts)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({**SMALL, "logdir": "run"}))
    brought = ["--config", "rollouts={source: theirs}"]
    snakemake(tmp_path, *brought, "--", "latents")
    shards = sorted((tmp_path / "run/rollouts").glob("*.json"))
    steps = [line["steps"] for shard in shards for line in json.loads(shard.read_text())["episodes"].values()]
    assert len(shards) == 3 and steps == [60] * 5
    assert json.loads((tmp_path / "run/latents/latents_8.json").read_text())["frames"] == 300

    def stale(*config: str) -> dict[str, int]:
        values = config or brought
        jobs = planned(snakemake(tmp_path, "-n", *values, "--", "latents"))
        return {name: count for name, count in jobs.items() if name != "latents"}

    assert stale() == {}
    assert stale(*brought, "seed=2") == {"train_vae": 1, "encode_latents": 1}
    assert stale(*brought, "vae={beta: 2.0}") == {"train_vae": 1, "encode_latents": 1}
    source.rename(tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").rglob("*"):
        path.touch()
    moved = ["--config", "rollouts={source: elsewhere}"]
    assert stale(*moved) == {}
    shutil.rmtree(tmp_path / ".snakemake")  # the summaries tell as much
    assert stale(*moved) == {}
    edited = sorted((tmp_path / "elsewhere").rglob("*.npz"))[0]
    with np.load(edited) as archive:
        arrays = dict(archive)
    np.savez(edited, **arrays | {"rewards": arrays["rewards"] + 1})
    assert stale(*moved) == {"import_rollouts": 1, "train_vae": 1, "encode_latents": 1}
    before = {path.name: path.read_bytes() for path in (tmp_path / "run/rollouts").glob("*.npz")}
    for path in (tmp_path / "run/rollouts").glob("00001*"):  # what a killed import has left out
        path.unlink()
    snakemake(tmp_path, *moved, "--", "rollouts")
    after = {path.name: path.read_bytes() for path in (tmp_path / "run/rollouts").glob("*.npz")}
    assert [name for name in before if before[name] != after[name]] == ["00000_0000.npz"]
    assert stale("--config", "rollouts={source: elsewhere, source_frames: after}")["import_rollouts"] == 2


@pytest.fixture(scope="module")
def tested(tiny_run, tmp_path_factory) -> Path:
    """A copy of the tiny run after a test of two short episodes."""
    run = tmp_path_factory.mktemp("tested") / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("checkpoint.tar"))
    run_script("evaluate", "--logdir", run, "--env-max-episode-steps", 60, "--num-episodes", 2, "--threads", 2)
    return run


@pytest.fixture(scope="module")
def package(tested) -> Path:
    """The run's package, a .zip."""
    film = tested / "vae/samples/sample_0001.png"  # a picture stands in for a film
    flags = ["--logdir", tested, "--env-max-episode-steps", 60, "--film", film]
    run_script("export_agent", *flags, "--output", tested.parent / "driver")
    return tested.parent / "driver.zip"


def test_a_package_has_what_hubs_take_and_no_pickle(package):
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
        card, config = archive.read("README.md").decode(), json.loads(archive.read("config.json"))
    assert names == {
        "README.md", "config.json", "eval.json", "episode.gif", "vae.safetensors", "mdrnn.safetensors",
        "ctrl.safetensors",
    }  # fmt: skip
    assert {path.name for path in package.with_suffix("").iterdir() if not path.name.startswith(".")} == names
    head = yaml.safe_load(card.split("---")[1])
    assert "CarRacing-v3" in head["tags"] and head["model-index"][0]["results"][0]["metrics"]
    assert "--env-max-episode-steps 60" in card and config["env"]["max_episode_steps"] == 60
    assert set(config["files"]) == names - {"config.json"}


def test_a_package_holds_equal_tensors_and_acts_equally(package, tested, tmp_path):
    shutil.copy(package, tmp_path / "moved.zip")
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "unpacked/in_a_folder")
    frames = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8)
    answers = []
    for place in (tested, tmp_path / "moved.zip", tmp_path / "unpacked/in_a_folder"):
        world, controller, saved = load_agent(str(place), CPU)
        z, _ = encode(world.vae, frames)
        hidden = world.cell.get_init_hidden(5)
        outputs = controller(**world.features(controller.features, z, hidden))
        answers.append([z, outputs, *world.cell.next_hidden(outputs, z, hidden), saved])
    for answer in answers[1:]:
        assert all(map(torch.equal, answer[:-1], answers[0][:-1]))
        same = ("reward", "epoch", "config", "env_steps")
        assert [answer[-1][key] for key in same] == [answers[0][-1][key] for key in same]
    for stage in ("vae", "mdrnn", "ctrl"):
        one, other = (load_checkpoint(f"{place}/{stage}/best.tar") for place in (tested, package))
        assert one.keys() == other.keys()
        for key in ("state_dict", "first_latents"):
            pairs = ((one[key][name], other[key][name]) for name in one.get(key, {}))
            assert all(torch.equal(*pair) for pair in pairs)


def test_a_package_is_tested_and_continued_elsewhere(package, tested, rollouts, tmp_path):
    shutil.copy(package, tmp_path / "driver.zip")
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"evaluate": {"num_episodes": 2}}))
    given = ["--config", "agent=driver.zip"]
    snakemake(tmp_path, *given, "--", "evaluate")
    first, second = (json.loads((run / "eval.json").read_text()) for run in (tested, tmp_path / "results/agent/driver"))
    assert all(first[key] == second[key] for key in ("seeds", "returns", "lengths", "env_steps"))
    assert planned(snakemake(tmp_path, "-n", *given, "--", "evaluate")) == {}
    films = planned(snakemake(tmp_path, "-n", *given))
    assert set(films) == {"replay_episodes", "plot_evaluation", "dream", "all"}
    search = "ctrl={start: agent, pop_size: 4, num_generations: 1, validation_episodes: 2, lanes: 2, time_limit: 30}"
    output = snakemake(tmp_path, *given, search, "logdir=more", "--", "ctrl")
    assert "was trained with another V or M" not in output
    steps = load_checkpoint(tmp_path / "more/ctrl/best.tar")["env_steps"]
    assert steps["rollouts"] == 360 and steps["start"] == first["env_steps"]["controller"]
    # V and M learn on from it, and it drives.
    for name, tiny in (("vae", ["--latent-size", 8]), ("mdrnn", ["--hidden-size", 16, "--seq-len", 16])):
        where = ["--logdir", "on", "--data-dir", Path(rollouts[0]).parent, "--num-test-files", 1, "--num-epochs", 0]
        run_script(f"train_{name}", *where, *tiny, "--start", "driver.zip", cwd=tmp_path)
        kept, given_weights = (load_checkpoint(f"{run}/{name}/best.tar") for run in (tmp_path / "on", tested))
        pairs = [(kept["state_dict"][key], tensor) for key, tensor in given_weights["state_dict"].items()]
        assert all(torch.equal(*pair) for pair in pairs) and kept["epoch"] == 0
        if name == "vae":
            assert kept["env_steps"] == 2 * 360
            run_script("encode_latents", *where[:4], cwd=tmp_path)
    drive = ["--num-rollouts", 1, "--shard-size", 1, "--seq-len", 5, "--policy", "agent", "--agent", "driver.zip"]
    run_script("collect_agent_rollouts", "--data-dir", "driven", *drive, "--shard", 0, cwd=tmp_path)
    assert json.loads((tmp_path / "driven/00000.json").read_text())["agent"]["env_steps"] == first["env_steps"]["total"]


def test_a_published_checkpoint_is_a_start_whose_content_counts(tested, rollouts, tmp_path):
    """It trains V further; its path does not count."""
    source = theirs(tmp_path / "theirs", rollouts)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({**SMALL, "logdir": "run"}))
    weights = load_checkpoint(tested / "vae/best.tar")["state_dict"]
    torch.save({"state_dict": weights, "optimizer": {"state": {}}, "scheduler": {}, "epoch": 7}, tmp_path / "a.tar")
    common = ["--config", f"rollouts={{source: {source.name}}}"]
    snakemake(tmp_path, *common, "vae={start: a.tar}", "--", "vae")
    trained = load_checkpoint(tmp_path / "run/vae/best.tar")
    assert trained["epoch"] == 1 and any(not torch.equal(weights[key], trained["state_dict"][key]) for key in weights)
    (tmp_path / "a.tar").rename(tmp_path / "b.tar")
    assert planned(snakemake(tmp_path, "-n", *common, "vae={start: b.tar}", "--", "vae")) == {}
    torch.save({"state_dict": weights, "epoch": 8}, tmp_path / "b.tar")
    assert "train_vae" in planned(snakemake(tmp_path, "-n", *common, "vae={start: b.tar}", "--", "vae"))
    assert "train_vae" in planned(snakemake(tmp_path, "-n", *common, "--", "vae"))


def repack(package: Path, target: Path, **changes: bytes | None) -> None:
    """Write the package again with other files: name (dots as __) -> content, or None to leave it out."""
    replaced = {name.replace("__", "."): content for name, content in changes.items()}
    with zipfile.ZipFile(package) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            content = replaced.get(name, archive.read(name)) if name in replaced else archive.read(name)
            if content is not None:
                copy.writestr(name, content)


def config_of(package: Path, **changes) -> bytes:
    with zipfile.ZipFile(package) as archive:
        return json.dumps({**json.loads(archive.read("config.json")), **changes}).encode()


NO_AGENT = "expected a package or the logdir of a finished run, found no "
BAD_PACKAGES = {
    "missing": (lambda p, t: None, f"agent: {NO_AGENT}x.zip/vae/best.tar"),
    "an empty folder": (lambda p, t: t.mkdir(), f"agent: {NO_AGENT}x.zip"),
    "no zip": (lambda p, t: t.write_text("hello"), "x.zip: expected a .zip, found a damaged or foreign file"),
    "truncated": (lambda p, t: t.write_bytes(p.read_bytes()[:9000]), "x.zip: expected a .zip, found a damaged"),
    "another zip": (
        lambda p, t: repack(p, t, config__json=b'{"model_type": "bert"}'),
        "x.zip: expected a package of `snakemake export`, found no config.json of one",
    ),
    "no env.id": (
        lambda p, t: repack(p, t, config__json=config_of(p, env={"frame_skip": 1})),
        "x.zip: expected a config.json with env.id, found none; the package was edited",
    ),
    "a model that is no mapping": (
        lambda p, t: repack(p, t, config__json=config_of(p, models={"vae": 1})),
        "x.zip: expected a config.json with models.vae.config.model, found none; the package was edited",
    ),
    "a file less": (lambda p, t: repack(p, t, mdrnn__safetensors=None), "x.zip: expected a package with the file"),
    "another digest": (
        lambda p, t: repack(p, t, ctrl__safetensors=b"other"),
        "x.zip: expected ctrl.safetensors to have the digest in config.json, found another one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PACKAGES)
def test_a_bad_package_ends_with_one_line(case, package, tmp_path):
    make, message = BAD_PACKAGES[case]
    make(package, tmp_path / "x.zip")
    (tmp_path / "small.yaml").write_text("{}")
    lines = snakemake(tmp_path, "-n", "--config", "agent=x.zip", "--", "evaluate", check=False).strip().splitlines()
    assert lines[-1].startswith(f"config: {message}") and "Traceback" not in "".join(lines)
    process = run_script("dream", "--logdir", "x.zip", "--output", "x.gif", cwd=tmp_path, check=False)
    assert process.returncode == 1 and "Traceback" not in process.stderr and not (tmp_path / "x.gif").exists()
    if case not in ("missing", "an empty folder"):
        assert message in process.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "values, message",
    [
        (["env={id: CartPole-v1}"], "env.id: expected 'CarRacing-v3', as the agent x.zip has it, or the default, "),
        (["env={frame_skip: 2}"], "env.frame_skip: expected 1, as the agent x.zip has it, or the default, found 2"),
        (["ctrl={start: elsewhere}"], 'ctrl.start: expected "" or agent beside the key agent, found \'elsewhere\''),
        (["seeds=[1,2]"], "agent: expected none beside seeds or iterations"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_a_package(values, message, package, tmp_path):
    shutil.copy(package, tmp_path / "x.zip")
    (tmp_path / "small.yaml").write_text("{}")
    lines = snakemake(tmp_path, "-n", "--config", "agent=x.zip", *values, "--", "all", check=False).strip().splitlines()
    assert lines[-1].startswith(f"config: {message}")


def test_a_package_of_another_environment_neither_drives_nor_starts(package, tmp_path):
    (tmp_path / "small.yaml").write_text("{}")
    for key, section in (("rollouts.agent", "rollouts={policy: agent, agent: %s}"), ("ctrl.start", "ctrl={start: %s}")):
        values = ["env={id: CartPole-v1}", section % package]
        output = snakemake(tmp_path, "-n", "--config", *values, "--", "ctrl", check=False)
        expected = f"config: {key}: expected a package for CartPole-v1 (env.id), found one for CarRacing-v3, {package}"
        assert output.strip().splitlines()[-1] == expected
    shown = ["--logdir", package, "--env-id", "CartPole-v1", "--output", "x.gif"]
    process = run_script("dream", *shown, cwd=tmp_path, check=False)
    assert "env.id: expected 'CarRacing-v3', as " in process.stderr.splitlines()[-1]
    drive = ["--num-rollouts", 1, "--seq-len", 5, "--policy", "agent", "--agent", package, "--env-id", "CartPole-v1"]
    process = run_script(
        "collect_agent_rollouts", "--data-dir", "driven", *drive, "--shard", 0, cwd=tmp_path, check=False
    )
    assert "it is of another environment" in process.stderr.splitlines()[-1] and "Traceback" not in process.stderr
    assert not list(tmp_path.rglob("*.npz"))


def test_wrong_episodes_and_starts_end_the_dry_run(tmp_path):
    (tmp_path / "small.yaml").write_text("{}")
    (tmp_path / "empty").mkdir()
    source = "rollouts.source: expected a folder of episodes (*.npz, also in subfolders) or of a Minari dataset, found "
    for values, message in {
        "rollouts={source: nowhere}": f"{source}no folder nowhere",
        "rollouts={source: empty}": f"{source}none in empty",
        "vae={start: nowhere.tar}": "vae.start: expected a checkpoint of V, the logdir of a finished run or a package, "
        "found no nowhere.tar",
        "vae={num_epochs: 0}": "vae.num_epochs: expected at least 1 without vae.start, found 0",
        "mdrnn={start: empty}": "mdrnn.start: expected a checkpoint of M, the logdir of a finished run or a package, "
        "found no empty/mdrnn/best.tar",
    }.items():
        output = snakemake(tmp_path, "-n", "--config", values, check=False)
        assert output.strip().splitlines()[-1] == f"config: {message}"


def test_an_export_without_a_test_writes_nothing(tiny_run, tmp_path):
    process = run_script("export_agent", "--logdir", tiny_run, "--output", "out", cwd=tmp_path, check=False)
    assert process.stderr.splitlines()[-1].endswith("eval.json: expected a file, found none")
    assert list(tmp_path.iterdir()) == []
