"""Figures and tables show their numbers."""

import numpy as np
import pytest

import plot_controller
import plot_evaluation
import plot_run
import plot_vae
import replay_episodes
from worldmodels.runtime.errors import UserError
from worldmodels.showing import tables


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
