"""play.py and dream.py show films and windows as a user asks for them, and name mistakes in one line."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from helpers.programs import run_script
from worldmodels.envs import seeding
from worldmodels.showing.films import MARGIN

pytestmark = pytest.mark.xdist_group("play")  # a fixture that takes long

OPTIONS = "--seed 1 --env-id CarRacing-v3 --env-max-episode-steps 60 --pop-size 4"


@pytest.fixture(scope="module")
def tested(tiny_run, tmp_path_factory) -> Path:
    """The tiny run with an official test of three episodes of 60 steps, made as if by the workflow."""
    run = tmp_path_factory.mktemp("play") / "run"
    shutil.copytree(tiny_run, run)
    run_script("evaluate", "--logdir", run, "--env-max-episode-steps", 60, "--num-episodes", 3, "--threads", 1)
    summary = json.loads((run / "ctrl/best.json").read_text())
    (run / "ctrl/best.json").write_text(json.dumps(summary | {"origin": {"options": OPTIONS}}))
    return run


def test_the_shown_agent_is_the_tested_one(tested, tmp_path):
    """The length of episodes comes from the record of the run."""
    test = json.loads((tested / "eval.json").read_text())
    assert len(set(test["returns"])) > 1
    process = run_script("play", "--logdir", tested, "--worst", 2, "--output", "a.gif", cwd=tmp_path)
    for value, seed in sorted(zip(test["returns"], test["seeds"]))[:2]:
        text = f"play: seed {seed}: return {value:.1f} in 60 steps; the official test had {value:.1f}"
        assert text in process.stderr
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 2 * 16 and film.size == (3 * 256, 256 + 2 * MARGIN) and film.info["duration"] == 80


def test_any_track_can_be_shown(tested, tmp_path):
    flags = ["--logdir", tested, "--steps", 20]
    process = run_script("play", *flags, "--track", 5, 6, "--height", 64, "--output", "b.png", cwd=tmp_path)
    assert "seed 5: return" in process.stderr and "seed 6: return" in process.stderr
    assert process.stderr.count(" in 20 steps\n") == 2
    with Image.open(tmp_path / "b.png") as film:
        assert film.n_frames == 2 * 6 and film.size == (3 * 64, 64 + 2 * MARGIN)
    process = run_script("play", *flags, cwd=tmp_path)
    assert f"seed {seeding.evaluation_seeds(1)[0]}: return" in process.stderr and (tmp_path / "play.gif").exists()


def test_a_package_is_shown_with_its_environment_and_its_test(tested, tmp_path):
    run_script("export_agent", "--logdir", tested, "--env-max-episode-steps", 60, "--output", tmp_path / "agent")
    process = run_script("play", "--logdir", tmp_path / "agent.zip", "--worst", 1, "--output", tmp_path / "a.gif")
    worst = min(json.loads((tested / "eval.json").read_text())["returns"])
    assert f"return {worst:.1f} in 60 steps; the official test had {worst:.1f}" in process.stderr


@pytest.mark.parametrize("program, more", [("play", []), ("dream", ["--warm-up", 2])])
def test_a_window_shows_what_a_film_shows(tested, tmp_path, monkeypatch, program, more):
    """SDL draws on a window that nobody sees."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    flags = ["--logdir", tested, "--steps", 8, "--render", "human", "--drive", "keyboard", *more]
    process = run_script(program, *flags, cwd=tmp_path)
    assert "8 steps" in process.stderr and not list(tmp_path.iterdir())
    run_script(program, *flags, "--output", "k.gif", cwd=tmp_path)
    with Image.open(tmp_path / "k.gif") as film:
        assert film.n_frames == 3


@pytest.mark.parametrize(
    "program, flags, message",
    [
        ("play", ["--render", "human"], "--render human: expected a display to open a window on, found none"),
        ("dream", ["--render", "human"], "--render human: expected a display to open a window on, found none"),
        ("play", ["--track", "-1"], "--track: expected seeds of at least 0, found -1"),
        ("dream", ["--track", "-1"], "--track: expected a seed of at least 0, found -1"),
        ("play", ["--seed", "5"], "--seed: expected the episode's seed under --track, found --seed 5"),
        ("play", ["--steps", "-1"], "--steps: expected at least 0, found -1"),
        ("play", ["--worst", "4"], "--worst: expected 1 to 3, the episodes in RUN/eval.json, found 4"),
        ("play", ["--output", "x.avi"], "x.avi: expected a film to end in .gif, .png or .mp4, found .avi"),
        ("play", ["--output", "/dev/null/x.gif"], "/dev/null: expected a folder to write to, found that it cannot be"),
        ("play", ["--device", "cuda:99"], "device: expected auto or a device that is here, found 'cuda:99'"),
        ("dream", ["--device", "cuda:99"], "device: expected auto or a device that is here, found 'cuda:99'"),
        ("play", ["--logdir", "nowhere"], "nowhere/vae/best.tar: expected a checkpoint, found no file"),
        ("play", ["--logdir", "nowhere", "--worst", "1"], "nowhere/eval.json: expected a file, found none"),
        ("play", ["--env-id", "Nowhere-v0"], "env.id: expected an environment that can be made, found 'Nowhere-v0'"),
    ],
)
def test_mistakes_end_with_one_line(tested, tmp_path, monkeypatch, program, flags, message):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    process = run_script(program, "--logdir", tested, *flags, check=False, cwd=tmp_path)
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert message.replace("RUN", str(tested)) in process.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_run_without_c_is_named(tested, tmp_path):
    shutil.copytree(tested, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/ctrl")
    process = run_script("play", "--logdir", tmp_path / "run", check=False, cwd=tmp_path)
    assert process.returncode == 1
    assert "run/ctrl/best.tar: expected a checkpoint, found no file" in process.stderr.splitlines()[-1]
