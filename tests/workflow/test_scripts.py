"""Every script works by hand, at a tiny size, in a folder with a difficult name, and names its mistakes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.programs import ROOT, run_script

SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name):
    text = run_script(name, "--help").stdout
    assert "default" in text.lower() and "usage" in text


def test_the_files_of_a_run(tiny_run, rollouts):
    files = {path.relative_to(tiny_run) for path in tiny_run.rglob("*") if path.is_file()}
    curves = {path for path in files if path.parts[0] == "tensorboard"}
    assert {path.parent.name for path in curves} == {"vae", "mdrnn", "ctrl", "score"}
    assert set(map(str, files - curves)) == {
        "said.txt", "ctrl.log", "vae/best.tar", "vae/best.json", "vae/checkpoint.tar",
        "vae/samples/reconstruction_0001.png", "vae/samples/sample_0001.png",
        "latents/latents_8.npz", "latents/latents_8.json", "mdrnn/best.tar", "mdrnn/best.json", "mdrnn/checkpoint.tar",
        "ctrl/best.tar", "ctrl/best.json", "ctrl/history.csv", "ctrl/checkpoint.tar",
    }  # fmt: skip
    assert not list(Path.cwd().glob("broken"))


def test_what_checkpoints_hold(tiny_run):
    for stage, keys in (("vae", "precision"), ("mdrnn", "precision"), ("ctrl", "reward")):
        best = torch.load(tiny_run / stage / "best.tar", weights_only=True)
        assert {"state_dict", "epoch", "config", keys} <= set(best)
        assert best[keys] == json.loads((tiny_run / stage / "best.json").read_text())[keys]
    best = torch.load(tiny_run / "ctrl/best.tar", weights_only=True)
    assert best["env_steps"]["rollouts"] == 360
    assert best["state_dict"]["fc.weight"].shape == (3, 8 + 16)


def test_the_log_has_what_the_terminal_had(tiny_run):
    text = (tiny_run / "ctrl.log").read_text()
    assert "ctrl: generation 2" in text and "ctrl: 2 generations done" in text
    assert text in (tiny_run / "said.txt").read_text()


def test_history_has_a_row_a_generation(tiny_run):
    lines = (tiny_run / "ctrl/history.csv").read_text().splitlines()
    assert lines[0] == "generation,env_steps,return_mean,return_max,validation_mean,sigma,seconds"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]


def test_any_number_of_cores_gives_the_same_controller_and_scores(tiny_run, tmp_path):
    """One worker, three with two threads each (more than the machine may have cores), and the tiny run's two."""
    ends = []
    for count in (1, 6):
        folder = tmp_path / str(count)
        for stage in ("vae", "mdrnn"):
            shutil.copytree(tiny_run / stage, folder / stage)
        search = ["--pop-size", 6, "--num-generations", 2, "--validation-episodes", 2, "--lanes", 2, "--time-limit", 30]
        run_script("train_controller", "--logdir", folder, *search, "--threads", count)
        short = ["--env-kwargs", '{"max_episode_steps": 60}', "--num-episodes", 3]
        run_script("evaluate", "--logdir", folder, *short, "--threads", count)
        ends.append(folder)
    for file in ("ctrl/best.json", "ctrl/best.tar", "eval.json"):
        assert (ends[0] / file).read_bytes() == (ends[1] / file).read_bytes(), file
    rows = [(folder / "ctrl/history.csv").read_text().splitlines() for folder in ends]
    first, second = ([row.rsplit(",", 1)[0] for row in history] for history in rows)  # all but the seconds
    assert first == second


def test_shards_of_the_test_are_merged_into_the_same(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    short = ["--logdir", run, "--env-kwargs", '{"max_episode_steps": 60}', "--num-episodes", 3]
    run_script("evaluate", *short, "--threads", 2)
    whole = (run / "eval.json").read_bytes()
    shutil.rmtree(run / "evaluate")
    for shard in range(2):
        run_script("evaluate", *short, "--shards", 2, "--shard", shard)
    assert len(json.loads((run / "evaluate/shard_0_of_2.json").read_text())["episodes"]) == 2
    process = run_script("evaluate", *short, "--shards", 2)
    assert "continuing after 3 episodes" in process.stderr
    assert (run / "eval.json").read_bytes() == whole
    refused = run_script("evaluate", *short, "--shards", 2, "--shard", 2, check=False)
    assert refused.stderr.endswith("error: --shard: expected 0 to 1, below --shards, found 2\n")


def test_the_controller_trains_in_gymnasium_too(tiny_run, tmp_path):
    for stage in ("vae", "mdrnn"):
        shutil.copytree(tiny_run / stage, tmp_path / stage)
    search = ["--pop-size", 4, "--num-generations", 1, "--validation-episodes", 2, "--lanes", 2, "--time-limit", 20]
    run_script("train_controller", "--logdir", tmp_path, *search, "--env-backend", "gymnasium", "--stall-limit", 0)
    assert json.loads((tmp_path / "ctrl/best.json").read_text())["epoch"] == 1
    history = (tmp_path / "ctrl/history.csv").read_text().splitlines()
    assert history[1].split(",")[1] == str(4 * 20)


def test_frames_encoded_on_the_fly_give_the_same_losses(tiny_run, rollouts, tmp_path):
    (tmp_path / "vae").symlink_to(tiny_run / "vae")
    tiny = ["--num-epochs", 1, "--num-test-files", 1, "--hidden-size", 16, "--seq-len", 16]
    where = ["--logdir", tmp_path, "--data-dir", Path(rollouts[0]).parent]
    run_script("train_mdrnn", *where, *tiny, "--precompute-latents", "false")
    first, second = (json.loads((d / "mdrnn/best.json").read_text())["history"][0] for d in (tiny_run, tmp_path))
    for key in ("loss", "gmm", "train_loss"):
        assert first[key] == pytest.approx(second[key], rel=1e-3)
    first, second = (torch.load(d / "mdrnn/best.tar", weights_only=True) for d in (tiny_run, tmp_path))
    assert first["terminals"] == second["terminals"]
    starts = list(zip(*(checkpoint["first_latents"].values() for checkpoint in (first, second))))
    assert len(starts) == 2 and len(starts[0][0]) == len(rollouts) - 1
    for latents in starts:
        torch.testing.assert_close(*latents, atol=1e-2, rtol=1e-2)  # V encodes batches of other sizes


def test_a_finished_stage_continues_with_a_larger_budget(tiny_run, rollouts, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    where = ["--logdir", run, "--data-dir", Path(rollouts[0]).parent]
    tiny = ["--num-test-files", 1, "--hidden-size", 16, "--seq-len", 16]
    state = torch.load(run / "mdrnn/checkpoint.tar", weights_only=True)
    state["optimizer"]["param_groups"][0]["capturable"] = True  # as a GPU saves it
    torch.save(state, run / "mdrnn/checkpoint.tar")
    process = run_script("train_mdrnn", *where, *tiny, "--num-epochs", 2)
    assert "continuing after epoch 1" in process.stderr
    process = run_script("train_mdrnn", *where, *tiny, "--num-epochs", 2, "--learning-rate", 0.01)
    assert (
        "belongs to another configuration, code or data; kept as" in process.stderr
        and "continuing" not in process.stderr
    )
    process = run_script("train_mdrnn", *where, *tiny, "--num-epochs", 3)
    assert "were here before" in process.stderr and "continuing after epoch 2" in process.stderr


@pytest.mark.parametrize(
    "script, flags, message",
    [
        ("train_vae", ["--latent-size", "0"], "argument --latent-size: expected at least 1, found 0"),
        ("train_vae", ["--data-dir", "nowhere"], "nowhere: expected rollouts (*.npz), found none"),
        ("train_vae", ["--device", "tpu9"], "device: expected auto or a device that is here, found 'tpu9'"),
        ("train_vae", ["--num-rollouts", "9"], "--shard-size: expected the number of rollouts in a shard"),
        ("dream", ["--logdir", "nowhere", "--output", "x.mov"], "x.mov: expected a film to end in .gif, .png or .mp4"),
        ("encode_latents", ["--logdir", "nowhere"], "nowhere/vae/best.tar: expected a checkpoint, found no file"),
        ("collect_rollouts", ["--env-id", "NoSuch-v0"], "env.id: expected an environment that can be made"),
        ("evaluate", ["--logdir", "nowhere"], "nowhere/vae/best.tar: expected a file, found none"),
    ],
)
def test_mistakes_end_with_one_line(script, flags, message, rollouts, tmp_path):
    data = [] if "--data-dir" in flags else ["--data-dir", Path(rollouts[0]).parent]
    process = run_script(script, *data, *flags, check=False, cwd=tmp_path)
    assert process.returncode != 0
    assert message in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr


def test_rollouts_of_another_shape_are_named(tiny_run, tmp_path):
    arrays = {"observations": np.zeros((9, 32, 32, 3), np.uint8), "actions": np.zeros((9, 3), np.float32)}
    np.savez(tmp_path / "x.npz", **arrays, rewards=np.zeros(9, np.float32), terminals=np.zeros(9, np.float32))
    process = run_script("encode_latents", "--logdir", tiny_run, "--data-dir", tmp_path, check=False)
    assert "x.npz: expected frames shaped (64, 64, 3) as V was trained on, found (32, 32, 3)" in process.stderr


def test_a_users_traceback_is_in_the_log_file_alone(tmp_path):
    text = (
        "import gymnasium as gym\ndef make(**options):\n    raise OSError('no level')\ngym.register('Bad-v0', make)\n"
    )
    (tmp_path / "bad_env.py").write_text(text)
    flags = ["--env-id", "Bad-v0", "--env-import", "bad_env", "--data-dir", "data", "--shard", 0, "--log", "out.log"]
    result = run_script("collect_rollouts", *flags, cwd=tmp_path, check=False)
    line = "error: env.id: the environment raised OSError: no level (bad_env.py, line 3)"
    assert result.returncode == 1 and "Traceback" not in result.stderr and result.stderr.strip().endswith(line)
    logged = (tmp_path / "out.log").read_text()
    assert "Traceback" in logged and "raise OSError('no level')" in logged and logged.strip().endswith(line)
