"""TensorBoard shows the right curves after stops, cuts and changes, and no curve can end a stage."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.events import read_folder, shown_curves
from worldmodels.runtime.curves import Curves

CTRL = {"return_max": 9.0, "sigma": 0.1, "seconds": 2.0, "validation_mean": None}


def generations(count: int, factor: float = 1.0) -> list[dict]:
    """The history of C's training: 10 steps a generation, every second one validated a generation later."""
    rows = [{**CTRL, "generation": i, "return_mean": factor * i, "env_steps": 10 * i} for i in range(1, count + 1)]
    for row in rows[1:-1:2]:
        row["validation_mean"] = factor * row["generation"]
    return rows


def epochs(count: int) -> list[dict]:
    names = ("loss", "train_mse", "train_kl", "mse", "kl", "learning_rate")
    return [{"epoch": i, **dict.fromkeys(names, float(i))} for i in range(1, count + 1)]


def program(logdir: Path, **settings) -> Curves:
    """The curves of a program that has just started."""
    curves = Curves()
    curves.set_up(str(logdir), settings.pop("wanted", True), settings)
    return curves


def train(logdir: Path, rows: list[dict], done: int = 0, identity: str = "a" * 32) -> Curves:
    """C's training from a saved state of this many generations to the end of the rows."""
    curves = program(logdir)
    curves.start("ctrl", identity, rows[:done])
    for i in range(done + 1, len(rows) + 1):
        curves.add_rows([*rows[: i - 1], {**rows[i - 1], "validation_mean": None}])
    curves.add_rows(rows)
    return curves


def means(logdir: Path) -> list[tuple[int, float]]:
    return shown_curves(logdir / "tensorboard/ctrl")["ctrl/return_mean"]


def line(start: int, end: int, factor: float = 1.0) -> list[tuple[int, float]]:
    return [(i, factor * i) for i in range(start, end + 1)]


def test_a_search_shows_every_generation_once(tmp_path):
    train(tmp_path, generations(7))
    shown = shown_curves(tmp_path / "tensorboard/ctrl")
    assert shown["ctrl/return_mean"] == line(1, 7)
    assert shown["ctrl/return_validated"] == [(2, 2.0), (4, 4.0), (6, 6.0)]
    assert shown["ctrl/steps"] == line(1, 7, 10.0)
    assert shown["ctrl/steps_per_second"] == [(i, 5.0) for i in range(1, 8)]


def test_a_finished_stage_that_runs_again_writes_nothing(tmp_path):
    files = [sorted(train(tmp_path, generations(4), done).folder.glob("ctrl/*")) for done in (0, 4, 4)]
    assert len(files[0]) == 1 and files[0] == files[1] == files[2]


@pytest.mark.parametrize("done", [1, 3, 4, 5])
def test_a_continued_search_repeats_nothing(tmp_path, done):
    """The saved state is behind the curves, as after a kill between the two, or level with them."""
    train(tmp_path, generations(4))
    train(tmp_path, generations(7), done)
    assert shown_curves(tmp_path / "tensorboard/ctrl") == shown_curves(
        train(tmp_path / "whole", generations(7)).folder / "ctrl"
    )


def test_a_file_that_was_cut_off_is_read_to_its_last_whole_event(tmp_path):
    path = train(tmp_path, generations(4)).file.path
    path.write_bytes(path.read_bytes()[:-20])
    train(tmp_path, generations(6), done=4)
    assert means(tmp_path) == line(1, 6)


def test_a_lower_budget_cuts_and_a_higher_one_fills(tmp_path):
    train(tmp_path, generations(8))
    train(tmp_path, generations(3), done=3)
    assert means(tmp_path) == line(1, 3)
    train(tmp_path, generations(9), done=8)
    assert means(tmp_path) == line(1, 9)
    assert shown_curves(tmp_path / "tensorboard/ctrl")["ctrl/return_validated"] == [(i, float(i)) for i in (2, 4, 6, 8)]


def test_a_stage_that_starts_over_replaces_its_curves(tmp_path):
    train(tmp_path, generations(8))
    train(tmp_path, generations(2, factor=3.0))
    assert means(tmp_path) == line(1, 2, 3.0)
    assert len(list((tmp_path / "tensorboard/ctrl").iterdir())) == 1


def test_the_state_of_another_identity_brings_its_own_curves(tmp_path):
    train(tmp_path, generations(8), identity="b" * 32)
    train(tmp_path, generations(5, factor=2.0), done=4, identity="c" * 32)
    assert means(tmp_path) == line(1, 5, 2.0)


def test_curves_that_were_off_are_filled_from_the_history(tmp_path):
    program(tmp_path, wanted=False).start("ctrl", "a" * 32, [])
    assert not list(tmp_path.iterdir())
    train(tmp_path, generations(5), done=3)
    assert means(tmp_path) == line(1, 5)


def test_no_package_no_curves(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    train(tmp_path, generations(2))
    assert not list(tmp_path.iterdir()) and not caplog.messages


def test_a_vae_shows_its_pictures_and_its_speed(tmp_path):
    Image.fromarray(np.full((4, 6, 3), 200, np.uint8)).save(tmp_path / "reconstruction_0001.png")
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "sample_0001.png")
    curves = program(tmp_path)
    curves.start("vae", "a" * 32, [])
    curves.add_rows(epochs(1), 50.0)
    curves.add_samples(tmp_path, 1)
    events = read_folder(tmp_path / "tensorboard/vae")
    assert [(point.step, point.value) for point in events.Scalars("vae/images_per_second")] == [(1, 50.0)]
    (picture,) = events.Images("vae/reconstruction")
    assert (picture.step, picture.width, picture.height) == (1, 6, 4)
    assert picture.encoded_image_string == (tmp_path / "reconstruction_0001.png").read_bytes()
    assert len(events.Images("vae/sample")) == 1


def test_a_test_shows_its_histogram_and_its_score(tmp_path):
    curves = program(tmp_path)
    curves.start("evaluate", "a" * 32, [])
    curves.add_test([1.0, 2.0, 4.0], [10, 20, 30], step=7)
    for score in (1.0, 2.5):
        curves.add_score("evaluate", {"score/test": score}, step=7)
    curves.add_score("ctrl", {"score/dream": 3.0}, step=7)
    (histogram,) = read_folder(tmp_path / "tensorboard/evaluate").Histograms("evaluate/returns")
    value = histogram.histogram_value
    assert (histogram.step, value.num, value.sum, value.min, value.max) == (7, 3, 7.0, 1.0, 4.0)
    assert shown_curves(tmp_path / "tensorboard/score") == {"score/test": [(7, 2.5)], "score/dream": [(7, 3.0)]}


def test_the_configuration_is_written_once_and_replaced(tmp_path):
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data

    for beta in (1.0, 1.0, 2.0):
        settings = {"seed": 3, "vae.beta": beta, "env.grey": True, "env.id": "A-v1", "ctrl.hidden": [40]}
        program(tmp_path, **settings).start("vae", "a" * 32, [])
        assert len(list((tmp_path / "tensorboard/score").iterdir())) == 1
    metadata = read_folder(tmp_path / "tensorboard/score").SummaryMetadata(SESSION_START_INFO_TAG)
    start = parse_session_start_info_plugin_data(metadata.plugin_data.content)
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert values == {**settings, "ctrl.hidden": json.dumps([40])} and not start.group_name


@pytest.mark.parametrize("obstacle", ["a file", "a full disk", "a damaged picture"])
def test_a_failing_writer_is_one_warning(tmp_path, caplog, obstacle):
    curves = program(tmp_path)
    reason = {"a file": "File exists", "a full disk": "No space left on device", "a damaged picture": "Unidentified"}
    if obstacle == "a file":
        (tmp_path / "tensorboard").mkdir()
        (tmp_path / "tensorboard/vae").write_text("")
    curves.start("vae", "a" * 32, [])
    if obstacle == "a full disk":
        curves.file.path = Path("/dev/full")
    if obstacle == "a damaged picture":
        (tmp_path / "reconstruction_0001.png").write_text("no picture")
        curves.add_samples(tmp_path, 1)
    for count in (1, 2, 3):
        curves.add_rows(epochs(count), 50.0)
    curves.add_score("vae", {"loss/vae": 1.0}, 1)
    (message,) = caplog.messages
    assert message.startswith(f"tensorboard: {tmp_path}/tensorboard cannot be written") and reason[obstacle] in message


def test_nothing_random_is_drawn(tmp_path):
    def states() -> list[str]:
        return [str(random.getstate()), str(np.random.get_state()), str(torch.get_rng_state().tolist())]

    before = states()
    curves = train(tmp_path, generations(3))
    curves.add_test([1.0, 2.0], [1, 2], 3)
    curves.add_score("ctrl", {"score/validation": 1.0}, 3)
    assert states() == before
