"""Figures and tables show their numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

import compare_agents
import compare_iterations
import compare_temperatures
import plot_controller
import plot_evaluation
import plot_mdrnn
import plot_run
import plot_vae
import replay_episodes
from worldmodels.runtime.errors import UserError
from worldmodels.showing import figures, tables
from worldmodels.showing.endings import Prediction, draw_endings
from worldmodels.training.history import COLUMNS


def test_worst_frames_are_apart():
    errors, rows = np.arange(100.0), np.arange(100)
    assert plot_vae.choose_worst(errors, rows) == [99, 74, 49, 24]


def test_episode_lengths_leave_the_validation_out():
    """Two candidates with one episode each, later two; a validation of three episodes after generation 2."""
    steps = np.array([20.0, 60.0, 60.0 + 3 * 30 + 2 * 2 * 50])
    history = {"env_steps": steps, "validation_mean": np.array([np.nan, 1.0, np.nan])}
    config = {"pop_size": 2, "n_samples": 1, "sample_growth": 60, "validation_episodes": 3}
    lengths = plot_controller.episode_lengths(history, config)
    assert lengths == pytest.approx([10, 20, (90 + 200) / 7])


def test_tables_are_escaped(tmp_path):
    tables.save_tables(tmp_path / "x.html", "t", {"<c>": (("a", "b"), [["<script>", 1]])})
    text = (tmp_path / "x.html").read_text()
    assert "&lt;script&gt;" in text and "<script>" not in text and text.count("<td>") == 2


@pytest.mark.parametrize(
    "returns, expected", [([3.0, 1.0, 2.0], (0, 2, 1)), ([5.0], (0, 0, 0)), ([1.0, 2.0], (1, 1, 0))]
)
def test_best_median_and_worst(returns, expected):
    assert tuple(replay_episodes.choose_episodes(returns).values()) == expected


BENCHMARK = "s\th:m:s\tmax_rss\tmax_vms\tcpu_time\n{}\t0:00:00\t{}\t1\t{}\n"


def test_jobs_of_a_stage_add_up(tmp_path):
    jobs = {
        "collect_rollouts_00000": (10, 500, 9),
        "collect_rollouts_00001": (20, 700, 18),
        "train_vae": (65, 900, 120),
    }
    for name, values in jobs.items():
        (tmp_path / f"{name}.tsv").write_text(BENCHMARK.format(*values))
    usage = plot_run.sum_usage([str(tmp_path / f"{name}.tsv") for name in jobs])
    assert usage["rollouts"] == {"jobs": 2, "s": 30.0, "max_rss": 700.0, "cpu_time": 27.0}
    assert plot_run.format_time(usage["vae"]["s"] + 3600) == "1:01:05"
    (tmp_path / "short.tsv").write_text(BENCHMARK.format(0.1, "NA", "NA"))
    assert plot_run.read_benchmark(str(tmp_path / "short.tsv"))["s"] == 0.1
    (tmp_path / "empty.tsv").touch()
    with pytest.raises(UserError, match="expected a benchmark of Snakemake, found an empty file"):
        plot_run.read_benchmark(str(tmp_path / "empty.tsv"))


def test_an_environment_without_a_car_has_no_tracks_and_no_published_scores(tmp_path):
    none = {
        "path": np.empty((0, 3), np.float32),
        "track": np.empty((0, 4), np.float32),
        "rewards": np.ones(5, np.float32),
    }
    replays = {f"{name}_{key}": array for name in plot_evaluation.EPISODES for key, array in none.items()}
    figure = plot_evaluation.draw_tracks(replays)
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts == ["this environment has no track"] * 3
    assert (
        plot_evaluation.published_scores("Pendulum-v1") == {}
        and len(plot_evaluation.published_scores("CarRacing-v3")) == 4
    )


TERMS = ("mse", "kl", "gmm", "bce")  # of the losses of V and M
CURVES = [
    {"epoch": n, "learning_rate": 1e-3} | {f"{part}{term}": 1 / n for part in ("", "train_") for term in TERMS}
    for n in range(1, 9)
]
SUMMARY = {"epoch": 8, "precision": 1234.5678, "history": CURVES}
ENV = "BipedalWalkerHardcore-v3"
SCORE = {"mean": 868.0, "std": 511.0, "mean_95_interval": [800.0, 936.0]}


def episodes_with_endings() -> list[Prediction]:
    probabilities = np.geomspace(1e-5, 0.9, 200)
    return [Prediction(probabilities, np.arange(200) == 199), Prediction(probabilities[::-1], np.arange(200) == 199)]


FIGURES = {
    "controller": lambda: plot_controller.draw_returns(
        {key: np.linspace(0.0, 900.0, 28) for key in COLUMNS} | {"generation": np.arange(28)},
        {"reward": 900, "epoch": 27},
    ),
    "evaluation": lambda: plot_evaluation.draw_returns(
        {"env": "CarRacing-v3", "episodes": 100, "returns": [-1000.0, 9.0, 900.0], **SCORE}
    ),
    "vae": lambda: plot_vae.draw_losses(SUMMARY, 0.0026),
    "mdrnn": lambda: plot_mdrnn.draw_losses(SUMMARY, include_reward=False),
    "endings": lambda: draw_endings(episodes_with_endings()),
    "ablation": lambda: compare_agents.draw_returns(dict.fromkeys((*compare_agents.NAMES, "x" * 30), SCORE), ENV),
    "iterations": lambda: compare_iterations.draw_scores([SCORE, SCORE], ENV),
    "temperatures": lambda: compare_temperatures.draw_scores(
        [
            {"temperature": key, "dream": SCORE, "environment": SCORE, "paper": paper}
            for key, paper in compare_temperatures.PUBLISHED["VizdoomTakeCover-v1"].items()
        ],
        {"mean": 286.0, "episodes": 10000},
        "VizdoomTakeCover-v1",
    ),
    "stages": lambda: plot_run.draw_usage({"rollouts": {"s": 86400.0}}, {"ctrl": 1_720_000_000}),
    "images": lambda: figures.draw_image_rows({"true": np.zeros((1, 8, 8, 3), np.uint8)}, heading="a heading " * 12),
}


@pytest.mark.parametrize("name", FIGURES)
def test_legends_cover_nothing_and_no_text_is_cut(name):
    figure: Figure = FIGURES[name]()
    figure.draw_without_rendering()
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    ticks = {label for axis in axes for label in axis.get_ticklabels(which="both")}  # some are outside and not drawn
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    for text in set(shown) - ticks:
        box = text.get_window_extent()
        inside = box.x0 > -1 and box.y0 > -1 and box.x1 < figure.bbox.width + 1 and box.y1 < figure.bbox.height + 1
        assert inside, text.get_text()
    legends = [legend.get_window_extent() for legend in figure.findobj(Legend)]
    assert not any(box.overlaps(ax.get_window_extent()) for box in legends for ax in figure.axes)
    assert not any(one.overlaps(another) for i, one in enumerate(legends) for another in legends[:i])
