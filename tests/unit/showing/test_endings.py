"""Precision, recall and calibration of M's endings are right."""

import numpy as np
import pytest

from worldmodels.showing import endings
from worldmodels.showing.endings import LAST_STEPS, Prediction


def episode(probabilities: list[float], ends: bool) -> Prediction:
    terminals = np.zeros(len(probabilities), np.float32)
    terminals[-1] = ends
    return Prediction(np.array(probabilities, np.float32), terminals)


def test_precision_and_recall():
    """A hit, a false alarm before it, a missed ending, and a false alarm at a time limit."""
    episodes = [episode([0.1, 0.8, 0.9], True), episode([0.1, 0.5], True), episode([0.2, 0.6], False)]
    detection = endings.detect_endings(episodes)
    assert detection == (7, 2, 3, 1)
    assert detection.text() == "precision 0.33 (1/3) of predicted endings, recall 0.50 (1/2) of true endings"
    none = endings.detect_endings([episode([0.1], False)])
    assert none.text() == "precision unknown (0/0) of predicted endings, recall unknown (0/0) of true endings"


def test_calibration_compares_bins_with_the_share_of_endings():
    rng = np.random.default_rng(1)
    probabilities = np.repeat([0.0, 2e-3, 0.25], 20_000)
    predictions = Prediction(probabilities, (rng.random(60_000) < probabilities).astype(np.float32))
    predicted, shares, counts = endings.calibrate(predictions)
    assert counts.tolist() == [20_000] * 3
    assert predicted == pytest.approx([endings.LEAST, 2e-3, 0.25])
    assert shares == pytest.approx([0, 2e-3, 0.25], rel=0.2)


def test_probabilities_of_0_and_1_are_in_the_outer_bins():
    predicted, shares, counts = endings.calibrate(Prediction(np.array([0.0, 1.0]), np.array([0.0, 1.0])))
    assert predicted.tolist() == [endings.LEAST, 1] and shares.tolist() == [0, 1] and counts.tolist() == [1, 1]


def test_last_steps_are_aligned_to_the_ending():
    long = episode([*np.linspace(0, 0.4, LAST_STEPS + 3)], True)
    rows = endings.last_steps([episode([0.1, 0.2], True), episode([0.7], False), long])
    assert rows.shape == (2, LAST_STEPS)
    assert rows[0, -2:] == pytest.approx([0.1, 0.2]) and np.isnan(rows[0, :-2]).all()
    assert rows[1] == pytest.approx(long.probabilities[3:])


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in [*figure.texts, *(text for ax in figure.axes for text in ax.texts)])


def test_a_figure_without_endings_says_so():
    figure = endings.draw_endings([episode([0.1, 0.03], False), episode([0.2], False)])
    assert not figure.axes
    assert "None of the 2 held-out episodes has an ending." in texts(figure)
    assert "highest probability of an ending is 0.2, in 3 steps" in texts(figure)


def test_the_figure_has_the_numbers():
    short = [episode([1e-9, 0.9], True), episode([1e-9, 0.8], False)]  # fewer steps than the shown ones
    figure = endings.draw_endings(short)
    assert "precision 0.50 (1/2) of predicted endings, recall 1.00 (1/1)" in figure.get_suptitle()
    assert [text.get_text() for text in figure.axes[0].texts] == ["2", "2"]  # steps of each bin
    mean = next(line for line in figure.axes[1].lines if line.get_label() == "mean")
    assert mean.get_xdata().tolist() == [-1, 0] and mean.get_ydata() == pytest.approx([endings.LEAST, 0.9])
