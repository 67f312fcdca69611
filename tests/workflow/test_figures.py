"""The figures, films and tables of a run are all there, reproducible, and show the numbers of the run."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import plot_controller
import plot_mdrnn
import replay_episodes
from helpers.programs import ROOT, SMOKE, planned, run_script, run_snakemake
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.showing.films import MARGIN

pytestmark = pytest.mark.xdist_group("reported")  # a fixture that takes long

SHORT = ["--env-kwargs", '{"max_episode_steps": 60}']
BENCHMARK = "s\th:m:s\tmax_rss\tmax_vms\tcpu_time\n{}\t0:00:00\t{}\t1\t{}\n"


@pytest.fixture(scope="module")
def reported(tiny_run, rollouts, tmp_path_factory) -> Path:
    """The tiny run with all its figures, made script by script."""
    run = tmp_path_factory.mktemp("report") / "it's $(touch broken) ü"
    shutil.copytree(tiny_run, run)
    run_script("evaluate", "--logdir", run, *SHORT, "--num-episodes", 3, "--threads", 2)
    (run / "benchmarks").mkdir()
    for stage in ("collect_rollouts_00000", "train_vae", "train_controller"):
        (run / f"benchmarks/{stage}.tsv").write_text(BENCHMARK.format(12.5, 800, 11))
    benchmarks = [*sorted((run / "benchmarks").glob("*.tsv")), run / "benchmarks/encode_latents.tsv"]
    shards = sorted(Path(rollouts[0]).parent.glob("*.json"))
    output = [
        run_script("plot_vae", "--logdir", run, rollouts[-1]),
        run_script("plot_mdrnn", "--logdir", run, *rollouts[-2:]),
        run_script("plot_controller", "--logdir", run),
        run_script("replay_episodes", "--logdir", run, *SHORT, "--threads", 2),
        run_script("plot_evaluation", "--logdir", run),
        run_script(
            "plot_run", "--logdir", run, "--shards", *shards, "--benchmarks", *benchmarks,
            "--config", '{"vae": {"latent_size": 8}}',
        ),
    ]  # fmt: skip
    (run / "figures.txt").write_text("".join(part.stderr for part in output))
    return run


def test_the_figures_of_a_run(reported):
    names = {
        "vae_losses.png", "vae_reconstructions.png", "vae_worst.png", "vae_samples.png", "vae_traversals.png",
        "mdrnn_losses.png", "mdrnn_dream.png", "mdrnn_reward.png", "mdrnn_horizon.png",
        "mdrnn_terminal.png",
        "ctrl_returns.png", "ctrl_search.png", "evaluation.html", "evaluation_returns.png", "evaluation_tracks.png",
        "best.gif", "median.gif", "worst.gif", "films.png", "replays.npz", "run.html", "stages.png",
    }  # fmt: skip
    assert {path.name for path in (reported / "report").iterdir()} == names
    for path in (reported / "report").glob("*.png"):
        with Image.open(path) as image:
            assert image.width > 500 and image.height > 250, path
            assert len(np.unique(np.asarray(image.convert("L")))) > 20, path
    for stage in ("vae", "mdrnn", "ctrl", "evaluation"):
        assert f"{stage} figures: " in (reported / "figures.txt").read_text()
    assert "mdrnn figures: endings: precision " in (reported / "figures.txt").read_text()


def test_figures_are_reproducible(reported, rollouts, tmp_path):
    before = (reported / "report/mdrnn_horizon.png").read_bytes(), (reported / "report/vae_worst.png").read_bytes()
    for stage in ("vae", "mdrnn"):
        shutil.copytree(reported / stage, tmp_path / stage)
    run_script("plot_vae", "--logdir", tmp_path, rollouts[-1])
    run_script("plot_mdrnn", "--logdir", tmp_path, *rollouts[-2:])
    after = (tmp_path / "report/mdrnn_horizon.png").read_bytes(), (tmp_path / "report/vae_worst.png").read_bytes()
    assert before == after


def test_replays_equal_the_episodes_of_the_test(reported):
    test = json.loads((reported / "eval.json").read_text())
    with np.load(reported / "report/replays.npz") as replays:
        order = np.argsort(test["returns"])
        for name, number in (("best", order[-1]), ("median", order[1]), ("worst", order[0])):
            assert replays[f"{name}_rewards"].sum() == pytest.approx(test["returns"][number], abs=1e-2)
            path, track = replays[f"{name}_path"], replays[f"{name}_track"]
            assert path.shape == (test["lengths"][number], 3)
            middle = (track[:, :2] + track[:, 2:]) / 2
            assert np.hypot(*(middle - path[0, :2]).T).min() < 8  # it starts on the road
            assert np.hypot(*(track[:, :2] - track[:, 2:]).T) == pytest.approx(80 / 6, rel=0.01)
    assert "the replay" not in (reported / "figures.txt").read_text()


def test_films_have_a_picture_every_few_steps(reported):
    with Image.open(reported / "report/best.gif") as film:
        assert film.n_frames == 60 // replay_episodes.EVERY
        assert film.size == (3 * 64 * 3, 64 * 3 + 2 * MARGIN)
        first = np.asarray(next(ImageSequence.Iterator(film)).convert("RGB")).astype(int)
    inside = first[MARGIN:-MARGIN]
    seen, reconstructed, dreamt = (inside[:, i * 192 : (i + 1) * 192] for i in range(3))
    assert (reconstructed == dreamt).all() and (seen != reconstructed).any()  # at its start a dream is awake
    with Image.open(reported / "report/films.png") as film:
        assert film.n_frames == 60 // replay_episodes.EVERY
        assert film.size == (3 * 64 * 3, 3 * (64 * 3 + 2 * MARGIN))


def test_tables_hold_the_numbers(reported):
    test = json.loads((reported / "eval.json").read_text())
    page = (reported / "report/evaluation.html").read_text()
    for seed, value in zip(test["seeds"], test["returns"]):
        assert f"<td>{seed}</td><td>{value:.1f}</td><td>60</td>" in page
    assert "906 ± 21" in page
    page = (reported / "report/run.html").read_text()
    assert "<td>vae</td><td>1</td><td>0:00:12</td><td>0:00:11</td><td>800</td><td>-</td>" in page
    assert "<td>latents</td><td>-</td><td>-</td>" in page
    assert "<td>vae.latent_size</td><td>8</td><td>32</td>" in page
    assert f"<td>{test['env_steps']['controller']:,}</td>" in page


def test_learning_curves_show_the_history(reported):
    summary = json.loads((reported / "mdrnn/best.json").read_text())
    figure = plot_mdrnn.draw_losses(summary, include_reward=True)
    assert [ax.get_ylabel() for ax in figure.axes][-1] == "learning rate" and len(figure.axes) == 4
    line = figure.axes[0].lines[1]
    assert line.get_ydata() == pytest.approx([row["gmm"] for row in summary["history"]])
    assert len(plot_mdrnn.draw_losses(summary, include_reward=False).axes) == 3


def test_history_of_the_controller_is_read(reported):
    history = plot_controller.read_history(reported / "ctrl/history.csv")
    rows = list(csv.DictReader(io.StringIO((reported / "ctrl/history.csv").read_text())))
    assert history["env_steps"].tolist() == [float(row["env_steps"]) for row in rows]
    figure = plot_controller.draw_returns(history, {"reward": 1.0, "epoch": 2})
    assert figure.axes[1].lines[0].get_xdata() == pytest.approx(history["env_steps"] / 1e6)
    (reported / "short.csv").write_text("generation,env_steps\n1,2\n")
    with pytest.raises(UserError, match="expected the columns generation, env_steps, return_mean"):
        plot_controller.read_history(reported / "short.csv")


def copy_with_terminal(run: Path, folder: Path, logit: float) -> Path:
    """The run's models, M's logit of the terminal shifted so far that all or no steps end the episode.

    C takes the changed M for the one that it was trained with.
    """
    for stage in ("vae", "mdrnn", "ctrl"):
        shutil.copytree(run / stage, folder / stage)
    saved = torch.load(folder / "mdrnn/best.tar", weights_only=True)
    saved["state_dict"]["gmm_linear.bias"][-1] = logit
    torch.save(saved, folder / "mdrnn/best.tar")
    controller = torch.load(folder / "ctrl/best.tar", weights_only=True)
    controller["mdrnn"] = file_digest(folder / "mdrnn/best.tar")
    torch.save(controller, folder / "ctrl/best.tar")
    return folder


def test_dream_ends_where_m_ends_the_episode(tiny_run, tmp_path):
    run = copy_with_terminal(tiny_run, tmp_path / "run", 50.0)
    process = run_script("dream", "--logdir", run, "--steps", 40, "--warm-up", 2, cwd=tmp_path)
    assert "in M's dream, temperature 1: 1 steps, where M ends the episode, return " in process.stderr
    assert "; in the environment: 40 steps, return " in process.stderr
    with Image.open(tmp_path / "dream.gif") as film:  # the dream waits on its last picture
        assert film.n_frames == 11


def test_dream_is_a_reproducible_film(tiny_run, tmp_path):
    run = copy_with_terminal(tiny_run, tmp_path / "run", -50.0)
    dream = ["--logdir", run, "--steps", 40, "--warm-up", 10]
    for name in ("a", "b"):
        process = run_script("dream", *dream, "--output", tmp_path / f"{name}.gif")
    assert re.search(r"dream, temperature 1: 40 steps, return -?\d+\.\d; in the environment: 40 steps,", process.stderr)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 11 and film.info["duration"] == 80 and film.size == (2 * 256, 256 + 2 * MARGIN)
        dreamt, real = (film.convert("RGB").crop((x, MARGIN, x + 256, 256 + MARGIN)) for x in (0, 256))
    assert np.asarray(dreamt).tolist() != np.asarray(real).tolist()
    run_script("dream", *dream, "--temperature", 3, "--output", tmp_path / "hot.gif", tmp_path / "hot.png")
    with Image.open(tmp_path / "hot.png") as film:
        assert film.n_frames == 11
    assert (tmp_path / "hot.gif").read_bytes() != (tmp_path / "a.gif").read_bytes()


def test_dream_has_the_temperature_in_which_c_learned(tiny_run, tmp_path):
    run = copy_with_terminal(tiny_run, tmp_path / "run", -50.0)
    controller = torch.load(run / "ctrl/best.tar", weights_only=True)
    controller["config"] |= {"world": "dream", "temperature": 1.15}
    torch.save(controller, run / "ctrl/best.tar")
    dream = ["--logdir", run, "--steps", 5, "--warm-up", 58, *SHORT]
    process = run_script("dream", *dream, cwd=tmp_path)
    assert "in M's dream, temperature 1.15: 5 steps" in process.stderr
    assert "in the environment: 2 steps, where the episode ends, return" in process.stderr
    process = run_script("dream", *dream, "--temperature", 0, cwd=tmp_path)
    assert "in M's dream, temperature 0: 5 steps" in process.stderr


@pytest.mark.parametrize(
    "script, flags, message",
    [
        ("plot_vae", ["--logdir", "nowhere", "x.npz"], "nowhere/vae/best.json: expected a file, found none"),
        (
            "plot_run",
            ["--shards", "a", "--benchmarks", "b"],
            "results/carracing/eval.json: expected a file, found none",
        ),
        ("plot_controller", [], "results/carracing/ctrl/best.json: expected a file, found none"),
        ("replay_episodes", [], "results/carracing/eval.json: expected a file, found none"),
        ("dream", ["--temperature", "-1"], "--temperature: expected at least 0, found -1"),
        ("dream", ["--steps", "0"], "--steps and --warm-up: expected at least 1 and 0, found 0 and 60"),
    ],
)
def test_invalid_flags_of_figures_end_with_one_line(script, flags, message, tmp_path):
    process = run_script(script, *flags, check=False, cwd=tmp_path)
    assert process.returncode != 0 and "Traceback" not in process.stderr
    assert message in process.stderr.splitlines()[-1]


def test_figures_are_part_of_the_default_targets(tmp_path):
    jobs = planned(run_snakemake("-n", "--cores", 2, cwd=tmp_path).stdout)
    wanted = {"plot_vae", "plot_mdrnn", "plot_controller", "dream", "replay_episodes", "plot_evaluation", "plot_run"}
    assert wanted <= set(jobs) and "figures" not in jobs
    assert wanted < set(planned(run_snakemake("-n", "--cores", 2, "figures", cwd=tmp_path).stdout))
    alone = planned(run_snakemake("-n", "--cores", 2, "plot_vae", cwd=tmp_path).stdout)
    assert set(alone) == {"collect_rollouts", "train_vae", "plot_vae"}


def test_report_shows_every_figure_with_a_caption(smoke, tmp_path):
    """Snakemake's own, with a caption for every figure."""
    shutil.copytree(smoke, tmp_path / "run")
    files = [ROOT / file for file in SMOKE]
    run_snakemake("--configfile", *files, "--report", "report.html", cwd=tmp_path / "run")
    text = (tmp_path / "run/report.html").read_text()
    for name in ("vae_worst.png", "mdrnn_horizon.png", "ctrl_returns.png", "films.png", "run.html", "dream.png"):
        assert name in text
    assert "the term that V" in text and "3 V, vision" in text
    pages = (tmp_path / "run/results/smoke/report").glob("*.html")
    assert all(page.stat().st_size < 1_500_000 for page in pages)  # browsers show no larger ones inside of the report
