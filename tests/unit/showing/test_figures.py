"""The figures, films and tables of the tiny run, and the dreams that they are made of."""

import csv
import io
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import dream as dream_script
import plot_controller
import plot_evaluation
import plot_mdrnn
import plot_run
import plot_vae
import replay_episodes
from helpers.programs import ROOT, planned, run_script, run_snakemake
from worldmodels import checkpoint, dreams, figures, films
from worldmodels.actions import ActionCodec
from worldmodels.mdrnn import MDRNN, gmm_loss, to_cell
from worldmodels.settings import UserError

SHORT = ["--env-kwargs", '{"max_episode_steps": 60}']


def mixture(batch: int = 4000) -> tuple[torch.Tensor, ...]:
    """Two Gaussians in two dimensions, far apart, with weights 0.8 and 0.2."""
    mus = torch.tensor([[-40.0, -40.0], [40.0, 40.0]]).expand(batch, 2, 2)
    sigmas = torch.tensor([[1.0, 2.0], [1.0, 2.0]]).expand(batch, 2, 2)
    return mus, sigmas, torch.tensor([0.8, 0.2]).log().expand(batch, 2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_divides_the_logits_and_scales_the_noise(temperature):
    z = dreams.sample_latent(*mixture(), temperature, torch.Generator().manual_seed(1))
    second = z[:, 0] > 0
    weights = np.array([0.8, 0.2]) ** (1 / temperature)
    assert float(second.float().mean()) == pytest.approx(weights[1] / weights.sum(), abs=0.03)
    assert ((z > 0).all(1) | (z < 0).all(1)).all()  # one Gaussian for the whole latent
    expected = np.array([1.0, 2.0]) * math.sqrt(temperature)
    assert z[~second].std(0).numpy() == pytest.approx(expected, rel=0.06)


def test_at_temperature_zero_a_dream_is_the_mean_of_the_most_likely_gaussian():
    assert (dreams.sample_latent(*mixture(), temperature=0) == -40).all()
    nearly = dreams.sample_latent(*mixture(), temperature=1e-8)
    assert torch.allclose(nearly, torch.tensor(-40.0), atol=1e-2)


def network(seed: int = 1) -> MDRNN:
    torch.manual_seed(seed)
    return MDRNN(latents=4, actions=2, hiddens=16, gaussians=3).eval().requires_grad_(False)


def test_a_dream_feeds_its_own_latents_back():
    """Step by step by hand, at temperature 0."""
    mdrnn = network()
    cell, actions, z = to_cell(mdrnn), torch.randn(5, 1, 2), torch.randn(1, 4)
    made = list(dreams.dream(cell, z, cell.get_init_hidden(1), lambda k, z, h: actions[k], 5, temperature=0))
    sequence = z
    for k in range(5):  # the whole sequence from its start, each time
        inputs = torch.cat([z.unsqueeze(0), *(step.latent.unsqueeze(0) for step in made[:k])])
        mus, _, logpi, rewards, _ = mdrnn(actions[: k + 1], inputs)
        sequence = mus[-1, 0, logpi[-1, 0].argmax()]
        assert torch.allclose(made[k].latent[0], sequence, atol=1e-5)
        assert float(made[k].reward) == pytest.approx(float(rewards[-1, 0]), abs=1e-5)


def test_the_likelihood_one_step_ahead_is_that_of_the_network():
    mdrnn, episodes = network(), [(torch.randn(40, 4), torch.randn(40, 2)) for _ in range(3)]
    windows = dreams.cut_windows(episodes, warm_up=6, horizon=5, stride=4)
    found = dreams.horizon_nll(mdrnn, windows, samples=3, generator=torch.Generator().manual_seed(1))
    expected = []
    for z, actions in episodes:
        for s in range(0, 40 - 11, 4):
            *mix, _, _ = mdrnn(actions[s : s + 7, None], z[s : s + 7, None])
            expected.append(float(gmm_loss(z[s + 7], *(part[-1, 0] for part in mix))))
    assert len(found) == 5 and windows.latents.shape == (12, len(expected), 4)
    assert found[0] == pytest.approx(np.mean(expected), abs=1e-4)


def test_more_dreams_do_not_count_as_more_likelihood():
    """A network that ignores its input says the same at every horizon, however many dreams are averaged."""
    mdrnn = network()
    for parameter in mdrnn.rnn.parameters():
        parameter.zero_()
    windows = dreams.cut_windows([(torch.randn(1, 4).expand(40, 4), torch.randn(40, 2))], 5, 8, 3)
    one, many = (dreams.horizon_nll(mdrnn, windows, n, torch.Generator().manual_seed(1)) for n in (1, 16))
    assert one == pytest.approx(many, abs=1e-4) and np.ptp(one) < 1e-4


def test_the_trivial_predictors_of_a_random_walk():
    """z stays: the spread of a random walk grows with the square root of the horizon."""
    walk = torch.randn(20000, 3, generator=torch.Generator().manual_seed(1)).cumsum(0) * 0.5
    stays, any_z = dreams.trivial_nll(dreams.cut_windows([(walk, torch.zeros(20000, 1))], 2, 9, 3))
    for k in (1, 4, 9):
        expected = 3 * (0.5 * math.log(2 * math.pi) + 0.5 + math.log(0.5 * math.sqrt(k)))
        assert stays[k - 1] == pytest.approx(expected, abs=0.1)
    assert any_z > stays[-1]


def test_windows_never_cross_the_end_of_an_episode():
    episodes = [(torch.full((n, 1), float(n)), torch.zeros(n, 1)) for n in (5, 9, 30)]
    windows = dreams.cut_windows(episodes, warm_up=4, horizon=4, stride=2)
    assert (windows.latents == windows.latents[0]).all()
    assert set(windows.latents[0].flatten().tolist()) == {9.0, 30.0}
    assert dreams.cut_windows(episodes[:1], 4, 4, 2) is None


def test_the_worst_frames_are_the_worst_and_apart():
    errors, rows = np.arange(100.0), np.arange(100)
    assert plot_vae.worst(errors, rows) == [99, 74, 49, 24]


def test_episode_lengths_take_out_the_validation():
    """Two candidates with one episode each, later two; a validation of three episodes after generation 2."""
    steps = np.array([20.0, 60.0, 60.0 + 3 * 30 + 2 * 2 * 50])
    history = {"env_steps": steps, "validation_mean": np.array([np.nan, 1.0, np.nan])}
    config = {"pop_size": 2, "n_samples": 1, "sample_growth": 60, "validation_episodes": 3}
    lengths = plot_controller.episode_lengths(history, config)
    assert lengths == pytest.approx([10, 20, (90 + 200) / 7])


def test_a_film_has_its_frames_and_labels(tmp_path):
    frames = np.random.default_rng(1).integers(0, 255, (6, 8, 10, 3), np.uint8)
    pictures = films.label_frames({"a": frames, "b": frames[..., :1]}, [str(i) for i in range(6)], scale=5)
    assert pictures[0].size == (2 * 10 * 5, 8 * 5 + 2 * films.MARGIN)
    inside = np.asarray(pictures[3])[films.MARGIN : -films.MARGIN]
    assert (inside[2::5, 2:50:5] == frames[3]).all()
    assert (inside[2::5, 52::5] == frames[3, :, :, :1]).all()
    films.write_film(tmp_path / "x.gif", pictures, fps=10)
    films.write_film(tmp_path / "x.png", pictures, fps=10)
    for kind in ("gif", "png"):
        with Image.open(tmp_path / f"x.{kind}") as film:
            assert film.n_frames == 6 and film.info["duration"] == 100 and film.info["loop"] == 0
    with pytest.raises(UserError, match=r"expected a film to end in \.gif, \.png or \.mp4, found \.avi"):
        films.write_film(tmp_path / "x.avi", pictures, fps=10)


def test_films_below_each_other():
    red, blue = ([Image.new("RGB", (4, 2), color)] for color in ("red", "blue"))
    stacked = films.stack([[*red, *blue], red])
    assert [picture.size for picture in stacked] == [(4, 4), (4, 4)]
    assert [picture.getpixel((0, y)) for picture in stacked for y in (0, 3)] == [
        (255, 0, 0), (255, 0, 0), (0, 0, 255), (255, 0, 0),
    ]  # fmt: skip


def test_an_mp4_is_a_film_too(tmp_path):
    """Where there is ffmpeg; else the message says what is missing."""
    pictures = films.label_frames({"a": np.zeros((6, 9, 11, 3), np.uint8)}, [""] * 6, scale=3)
    if shutil.which("ffmpeg"):
        films.write_film(tmp_path / "x.mp4", pictures, fps=10)
        assert (tmp_path / "x.mp4").read_bytes()[4:8] == b"ftyp"
    else:
        with pytest.raises(UserError, match="expected ffmpeg to be installed for an MP4, found none"):
            films.write_film(tmp_path / "x.mp4", pictures, fps=10)
    assert not list(tmp_path.glob(".*"))


def test_a_film_keeps_small_coloured_things(tmp_path):
    """A red car of 8 pixels on a green field whose every pixel has another green."""
    rng = np.random.default_rng(1)
    frames = np.stack([np.full((64, 64), 100), rng.integers(150, 250, (64, 64)), np.full((64, 64), 100)], -1)
    frames = np.repeat(frames[None].astype(np.uint8), 3, 0)
    frames[:, 40:44, 30:32] = (200, 0, 0)
    films.write_film(tmp_path / "x.gif", films.label_frames({"": frames}, [""] * 3, scale=1), fps=10)
    with Image.open(tmp_path / "x.gif") as film:
        red, green, _ = np.asarray(film.convert("RGB"))[films.MARGIN + 41, 30].astype(int)
    assert red > 150 and green < 60


def test_tables_are_escaped(tmp_path):
    figures.save_tables(tmp_path / "x.html", "t", {"<c>": (("a", "b"), [["<script>", 1]])})
    text = (tmp_path / "x.html").read_text()
    assert "&lt;script&gt;" in text and "<script>" not in text and text.count("<td>") == 2


@pytest.mark.parametrize(
    "returns, expected", [([3.0, 1.0, 2.0], (0, 2, 1)), ([5.0], (0, 0, 0)), ([1.0, 2.0], (1, 1, 0))]
)
def test_best_median_and_worst(returns, expected):
    assert tuple(replay_episodes.choose(returns).values()) == expected


BENCHMARK = "s\th:m:s\tmax_rss\tmax_vms\tcpu_time\n{}\t0:00:00\t{}\t1\t{}\n"


def test_jobs_of_a_stage_add_up(tmp_path):
    jobs = {"rollouts_00000": (10, 500, 9), "rollouts_00001": (20, 700, 18), "vae": (65, 900, 120)}
    for name, values in jobs.items():
        (tmp_path / f"{name}.tsv").write_text(BENCHMARK.format(*values))
    total = plot_run.stages([str(tmp_path / f"{name}.tsv") for name in jobs])
    assert total["rollouts"] == {"jobs": 2, "s": 30.0, "max_rss": 700.0, "cpu_time": 27.0}
    assert plot_run.clock(total["vae"]["s"] + 3600) == "1:01:05"
    (tmp_path / "short.tsv").write_text(BENCHMARK.format(0.1, "NA", "NA"))
    assert plot_run.read_benchmark(str(tmp_path / "short.tsv"))["s"] == 0.1
    (tmp_path / "empty.tsv").touch()
    with pytest.raises(UserError, match="expected a benchmark of Snakemake, found an empty file"):
        plot_run.read_benchmark(str(tmp_path / "empty.tsv"))


@pytest.fixture(scope="module")
def reported(tiny_run, rollouts, tmp_path_factory) -> Path:
    """The tiny run with all its figures, made script by script."""
    run = tmp_path_factory.mktemp("report") / "it's $(touch broken) ü"
    shutil.copytree(tiny_run, run)
    run_script("evaluate", "--logdir", run, *SHORT, "--num-episodes", 3, "--threads", 2)
    (run / "benchmarks").mkdir()
    for stage in ("rollouts_00000", "vae", "ctrl"):
        (run / f"benchmarks/{stage}.tsv").write_text(BENCHMARK.format(12.5, 800, 11))
    benchmarks = [*sorted((run / "benchmarks").glob("*.tsv")), run / "benchmarks/latents.tsv"]
    shards = sorted(Path(rollouts[0]).parent.glob("*.json"))
    said = [
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
    (run / "figures.txt").write_text("".join(part.stderr for part in said))
    return run


def test_the_figures_of_a_run(reported):
    names = {
        "vae_losses.png", "vae_reconstructions.png", "vae_worst.png", "vae_samples.png", "vae_traversals.png",
        "mdrnn_losses.png", "mdrnn_dream.png", "mdrnn_reward.png", "mdrnn_horizon.png",
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


def test_figures_are_reproducible(reported, rollouts, tmp_path):
    before = (reported / "report/mdrnn_horizon.png").read_bytes(), (reported / "report/vae_worst.png").read_bytes()
    for stage in ("vae", "mdrnn"):
        shutil.copytree(reported / stage, tmp_path / stage)
    run_script("plot_vae", "--logdir", tmp_path, rollouts[-1])
    run_script("plot_mdrnn", "--logdir", tmp_path, *rollouts[-2:])
    after = (tmp_path / "report/mdrnn_horizon.png").read_bytes(), (tmp_path / "report/vae_worst.png").read_bytes()
    assert before == after


def test_the_replays_are_the_episodes_of_the_test(reported):
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


def test_the_films_have_a_picture_every_few_steps(reported):
    with Image.open(reported / "report/best.gif") as film:
        assert film.n_frames == 60 // replay_episodes.EVERY
        assert film.size == (3 * 64 * 3, 64 * 3 + 2 * films.MARGIN)
        first = np.asarray(next(ImageSequence.Iterator(film)).convert("RGB")).astype(int)
    inside = first[films.MARGIN : -films.MARGIN]
    seen, reconstructed, dreamt = (inside[:, i * 192 : (i + 1) * 192] for i in range(3))
    assert (reconstructed == dreamt).all() and (seen != reconstructed).any()  # at its start a dream is awake
    with Image.open(reported / "report/films.png") as film:
        assert film.n_frames == 60 // replay_episodes.EVERY
        assert film.size == (3 * 64 * 3, 3 * (64 * 3 + 2 * films.MARGIN))


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


def test_an_environment_without_a_car_has_no_tracks_and_no_published_scores(tmp_path):
    none = {
        "path": np.empty((0, 3), np.float32),
        "track": np.empty((0, 4), np.float32),
        "rewards": np.ones(5, np.float32),
    }
    replays = {f"{name}_{key}": array for name in plot_evaluation.EPISODES for key, array in none.items()}
    figure = plot_evaluation.tracks(replays)
    said = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert said == ["this environment has no track"] * 3
    assert plot_evaluation.published("Pendulum-v1") == {} and len(plot_evaluation.published("CarRacing-v3")) == 4


def test_the_learning_curves_show_the_history(reported):
    summary = json.loads((reported / "mdrnn/best.json").read_text())
    figure = plot_mdrnn.losses(summary, include_reward=True)
    assert [ax.get_ylabel() for ax in figure.axes][-1] == "learning rate" and len(figure.axes) == 4
    line = figure.axes[0].lines[1]
    assert line.get_ydata() == pytest.approx([row["gmm"] for row in summary["history"]])
    assert len(plot_mdrnn.losses(summary, include_reward=False).axes) == 3


def test_the_history_of_the_controller_is_read(reported):
    history = plot_controller.read_history(reported / "ctrl/history.csv")
    rows = list(csv.DictReader(io.StringIO((reported / "ctrl/history.csv").read_text())))
    assert history["env_steps"].tolist() == [float(row["env_steps"]) for row in rows]
    figure = plot_controller.returns(history, {"reward": 1.0, "epoch": 2})
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
    controller["mdrnn"] = checkpoint.digest(folder / "mdrnn/best.tar")
    torch.save(controller, folder / "ctrl/best.tar")
    return folder


def test_a_dream_ends_where_m_ends_the_episode(tiny_run, tmp_path):
    run = copy_with_terminal(tiny_run, tmp_path / "run", 50.0)
    done = run_script("dream", "--logdir", run, "--steps", 40, "--warm-up", 2, cwd=tmp_path)
    assert "dream: 1 steps, where M ends the episode, predicted return" in done.stderr


def test_a_dream_is_a_film_and_repeats(tiny_run, tmp_path):
    run = copy_with_terminal(tiny_run, tmp_path / "run", -50.0)
    dream = ["--logdir", run, "--steps", 40, "--warm-up", 10]
    for name in ("a", "b"):
        done = run_script("dream", *dream, "--output", tmp_path / f"{name}.gif")
    assert re.search(r"dream: 40 steps, predicted return -?\d+\.\d, temperature 1, ", done.stderr)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 11 and film.info["duration"] == 80
    run_script("dream", *dream, "--temperature", 3, "--output", tmp_path / "hot.gif", tmp_path / "hot.png")
    with Image.open(tmp_path / "hot.png") as film:
        assert film.n_frames == 11
    assert (tmp_path / "hot.gif").read_bytes() != (tmp_path / "a.gif").read_bytes()


def test_the_keyboard_drives_without_a_display_if_asked(tiny_run, tmp_path, monkeypatch):
    run = copy_with_terminal(tiny_run, tmp_path / "run", -50.0)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    flags = ["--logdir", run, "--steps", 8, "--warm-up", 2, "--drive", "keyboard"]
    run_script("dream", *flags, "--output", tmp_path / "k.gif")
    with Image.open(tmp_path / "k.gif") as film:
        assert film.n_frames == 3
    monkeypatch.delenv("SDL_VIDEODRIVER")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    done = run_script("dream", *flags, check=False, cwd=tmp_path)
    assert (
        done.returncode == 1 and "--drive keyboard: expected a display to open a window on, found none" in done.stderr
    )


def test_keys_are_the_bounds_of_the_actions(monkeypatch):
    import gymnasium as gym
    import pygame

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    space = gym.spaces.Box(np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32))
    keyboard = dream_script.Keyboard(None, ActionCodec(space))
    pressed = dict.fromkeys((pygame.K_LEFT, pygame.K_RIGHT, pygame.K_UP, pygame.K_DOWN, pygame.K_SPACE), False)
    assert keyboard.action(pressed).tolist() == [0, 0, 0]
    assert keyboard.action({**pressed, pygame.K_LEFT: True, pygame.K_UP: True}).tolist() == [-1, 1, 0]
    assert keyboard.action({**pressed, pygame.K_RIGHT: True, pygame.K_SPACE: True}).tolist() == [1, 0, 1]
    keyboard.close()


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
def test_mistakes_end_with_one_line(script, flags, message, tmp_path):
    done = run_script(script, *flags, check=False, cwd=tmp_path)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert message in done.stderr.splitlines()[-1]


def test_the_workflow_makes_the_figures(tmp_path):
    jobs = planned(run_snakemake("-n", "--cores", 2, cwd=tmp_path).stdout)
    wanted = {"figures_vae", "figures_mdrnn", "figures_ctrl", "dream", "replay", "figures_evaluate", "figures_run"}
    assert wanted <= set(jobs) and "figures" not in jobs
    assert wanted < set(planned(run_snakemake("-n", "--cores", 2, "figures", cwd=tmp_path).stdout))
    alone = planned(run_snakemake("-n", "--cores", 2, "figures_vae", cwd=tmp_path).stdout)
    assert set(alone) == {"rollouts_shard", "vae", "figures_vae"}


def test_the_report_of_a_finished_run(smoke, tmp_path):
    """Snakemake's own, with a caption for every figure."""
    shutil.copytree(smoke, tmp_path / "run")
    preset = ROOT / "presets/smoke.yaml"
    run_snakemake("--configfile", preset, "--report", "report.html", cwd=tmp_path / "run")
    text = (tmp_path / "run/report.html").read_text()
    for name in ("vae_worst.png", "mdrnn_horizon.png", "ctrl_returns.png", "films.png", "run.html", "dream.png"):
        assert name in text
    assert "the term that V" in text and "3 V, vision" in text
    pages = (tmp_path / "run/results/smoke/report").glob("*.html")
    assert all(page.stat().st_size < 1_500_000 for page in pages)  # browsers show no larger ones inside of the report
