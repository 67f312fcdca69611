"""The spread of returns and the interval of their mean are right, also for one return."""

import json
import logging

import numpy as np
import pytest

import compare_agents
import compare_runs
import evaluate
import plot_evaluation
from worldmodels.playing import evaluation
from worldmodels.playing.scores import student_t, summarize_returns
from worldmodels.runtime.config import EnvConfig, EvaluateConfig
from worldmodels.runtime.score_text import interval_text, score_text
from worldmodels.storage.files import write_json

# Degrees of freedom and their two-sided 95 % and 99 % quantiles, as printed tables have them.
QUANTILES = {1: (12.706, 63.657), 2: (4.303, 9.925), 3: (3.182, 5.841), 4: (2.776, 4.604), 5: (2.571, 4.032),
             9: (2.262, 3.250), 10: (2.228, 3.169), 31: (2.040, 2.744), 100: (1.984, 2.626)}  # fmt: skip
ONE = {"env": "X-v0", "gymnasium_version": "1", "episodes": 1, **summarize_returns([5.0]), "env_steps": {"total": 7}}
ONE |= {"seeds": [3], "returns": [5.0], "lengths": [10]}


@pytest.mark.parametrize("freedom", QUANTILES)
def test_student_t_is_the_tables(freedom):
    both = student_t(freedom), student_t(freedom, 0.99)
    assert both == pytest.approx(QUANTILES[freedom], abs=6e-4)


def test_student_t_ends_at_the_normal_quantile():
    assert student_t(20_000) == pytest.approx(1.959964, abs=2e-4)


def test_intervals_of_few_returns_cover_the_mean_as_often_as_they_promise():
    rng = np.random.default_rng(0)
    intervals = [summarize_returns(rng.normal(size=3).tolist())["mean_95_interval"] for _ in range(2000)]
    assert 0.935 < np.mean([low <= 0 <= high for low, high in intervals]) < 0.965  # with the normal quantile: 0.81


def test_one_return_has_no_spread():
    assert summarize_returns([5.0]) == {"mean": 5.0, "std": None, "mean_95_interval": None}
    assert score_text(5.0, None) == "5.0" and score_text(5.0, 0.0) == "5.0 +- 0.0"
    assert interval_text(None) == "unknown after one episode" and interval_text([1, 2]) == "1.0 to 2.0"


def test_one_episode_is_tested_and_told_without_a_spread(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(evaluate, "evaluate", lambda *args, **options: {3: [5.0, 10]})
    monkeypatch.setattr(evaluate, "file_digest", lambda path: "")
    monkeypatch.setattr(evaluate, "user_network_of", lambda path: {})
    monkeypatch.setattr(
        evaluation, "load_controller", lambda path: (None, {"env_steps": {"c": 7}, "reward": 1.0, "epoch": 4})
    )
    parser = evaluate.make_parser("", EnvConfig, EvaluateConfig)
    parser.add_argument("--shard", type=int)
    with caplog.at_level(logging.INFO):
        evaluate.main(parser.parse_args(["--logdir", str(tmp_path), "--num-episodes", "1"]))
    result = json.loads((tmp_path / "eval.json").read_text())
    assert result["mean"] == 5.0 and result["std"] is None and result["mean_95_interval"] is None
    assert result["generation"] == 4
    assert "evaluate: 5.0 over 1 tracks (95 % interval of the mean unknown after one episode)" in caplog.text


def test_one_episode_is_drawn_without_a_spread():
    texts = [
        text.get_text()
        for text in plot_evaluation.draw_returns({**ONE, "env": "CarRacing-v3"}).findobj()
        if hasattr(text, "get_text")
    ]
    assert "5" in texts and "906 ± 21" in texts and "Official test: 5 over 1 episodes" in texts
    rows = dict(plot_evaluation.list_tables(ONE)["Official test"][1])
    assert rows["mean ± standard deviation"] == "5.0"
    assert rows["95 % interval of the mean (Student's t)"] == "unknown after one episode"


@pytest.mark.parametrize("other", [ONE, {**ONE, "episodes": 2, **summarize_returns([4.0, 6.0])}])
def test_agents_of_one_episode_are_compared(other):
    agents = {"v_only": ONE, "full": other}
    assert "| V only | 5.0 | unknown after one episode | 1 | 7 |" in compare_agents.format_table(agents)
    figure = compare_agents.draw_returns(agents, "X-v0")
    assert [bar.get_width() for bar in figure.axes[0].patches] == [5.0, 5.0]


@pytest.mark.parametrize(
    "means, spread, message",
    [([800.0], None, "1 run: mean score 800.0;"), ([800.0, 900.0], 70.71, "2 runs: mean score 850.0 +- 70.7")],
)
def test_the_spread_between_runs_takes_two(tmp_path, caplog, means, spread, message):
    paths = [str(tmp_path / f"{i}.json") for i in range(len(means))]
    for path, mean in zip(paths, means):
        write_json(path, {**ONE, "mean": mean})
    parser = compare_runs.make_parser("")
    parser.add_argument("--output")
    parser.add_argument("tests", nargs="+")
    with caplog.at_level(logging.INFO):
        compare_runs.main(parser.parse_args(["--output", str(tmp_path / "all.json"), *paths]))
    compared = json.loads((tmp_path / "all.json").read_text())
    assert compared["std"] == (spread and pytest.approx(spread, abs=0.01)) and message in caplog.text
    assert (compared["mean_95_interval"] is None) == (spread is None)
