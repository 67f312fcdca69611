"""M's predictions of the episode's end beside the true ends: precision, recall, calibration, and the last steps.

An episode that was cut by a time limit has no ending.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldmodels.runtime.detection import Detection
from worldmodels.showing.figures import BLACK, BLUE, ORANGE, draw_legend, new_figure

THRESHOLD = 0.5  # From this probability on M predicts an ending. Precision and recall are given for it.
LEAST = 1e-6  # Probabilities below this count as this. Logarithmic axes start here.
BINS = 12  # of the calibration, of equal width on the logarithmic axis
LAST_STEPS = 50  # before an ending, whose probabilities are shown
PROBABILITY = "M's probability that the episode ends"


class Prediction(NamedTuple):
    """M's predictions for an episode of T steps.

    Attributes:
        probabilities: (T,), that the episode ends with the step.
        terminals: (T,), 1 where it does, else 0.
    """

    probabilities: np.ndarray
    terminals: np.ndarray


def join_predictions(predictions: list[Prediction]) -> Prediction:
    """Return the predictions of all episodes, one after another."""
    return Prediction(*(np.concatenate(arrays) for arrays in zip(*predictions)))


def detect_endings(predictions: list[Prediction]) -> Detection:
    """Return how M finds the endings of these episodes."""
    probabilities, terminals = join_predictions(predictions)
    predicted, endings = probabilities > THRESHOLD, terminals > 0
    return Detection(len(endings), int(endings.sum()), int(predicted.sum()), int((predicted & endings).sum()))


def calibrate(prediction: Prediction) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean predicted probability, the share of endings, and the number of steps of each bin with steps.

    Args:
        prediction: of all episodes.
    """
    probabilities = prediction.probabilities.clip(LEAST, 1)
    edges = np.geomspace(LEAST, 1, BINS + 1)
    bins = np.digitize(probabilities, edges[1:-1])
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    means = [
        np.bincount(bins, values, BINS)[filled] / counts[filled] for values in (probabilities, prediction.terminals)
    ]
    return *means, counts[filled]


def last_steps(predictions: list[Prediction]) -> np.ndarray:
    """Return the probabilities at the last steps of the episodes that have an ending, the ending's step last.

    Returns:
        (E, LAST_STEPS), NaN before the first step of a shorter episode.
    """
    rows = [prediction.probabilities[-LAST_STEPS:] for prediction in predictions if prediction.terminals[-1:].any()]
    padded = [np.pad(row.astype(float), (LAST_STEPS - len(row), 0), constant_values=np.nan) for row in rows]
    return np.array(padded).reshape(-1, LAST_STEPS)


def draw_endings(predictions: list[Prediction]) -> Figure:
    """Draw the calibration of M's endings, and their probability in the last steps before true endings."""
    detection = detect_endings(predictions)
    if not detection.endings:
        return draw_no_ending(predictions)
    figure = new_figure(12, 5.5)
    left, right = figure.subfigures(1, 2)
    draw_calibration(left.subplots(), join_predictions(predictions))
    draw_last_steps(right.subplots(), last_steps(predictions), detection.endings / detection.steps)
    draw_legend(left, left.axes[0], columns=1)
    draw_legend(right, right.axes[0], columns=2)
    figure.suptitle(f"M's endings at probability {THRESHOLD:g}: {detection.text()}", fontsize=12)
    return figure


def draw_no_ending(predictions: list[Prediction]) -> Figure:
    """Draw a text: there is nothing to compare M's predictions with."""
    probabilities, _ = join_predictions(predictions)
    figure = new_figure(9, 3)
    lines = (
        f"None of the {len(predictions)} held-out episodes has an ending.",
        "Episodes that a time limit cut have none.",
        f"M's highest probability of an ending is {probabilities.max():.2g}, in {len(probabilities)} steps.",
    )
    figure.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", linespacing=1.8)
    return figure


def draw_calibration(ax: Axes, prediction: Prediction) -> None:
    """Draw the share of endings over M's probability, with the number of steps of each bin.

    Bins without an ending are at the lower edge.
    """
    probabilities, shares, counts = calibrate(prediction)
    seen = shares > 0
    lowest = min(shares[seen].min(), probabilities.min()) / 3
    ax.plot([lowest, 1], [lowest, 1], color=BLACK, ls=":", label="perfect")
    ax.plot(probabilities[seen], shares[seen], color=BLUE, marker="o", label="steps, in bins")
    if not seen.all():
        below = np.full((~seen).sum(), lowest)
        ax.plot(probabilities[~seen], below, color=ORANGE, marker="v", ls="", label="bins without an ending")
    for probability, share, count in zip(probabilities, shares, counts):
        offset, align = ((-4, 4), "right") if share else ((0, -13), "center")
        place = (probability, max(share, lowest))
        ax.annotate(f"{count:,}", place, offset, textcoords="offset points", ha=align, fontsize=8)
    ax.set(
        xscale="log",
        yscale="log",
        ylim=(lowest / 5, None),
        xlabel="M's probability that the episode ends",
        ylabel="share of steps with an ending",
    )
    ax.set_title("calibration; the numbers count steps", fontsize=11)


def draw_last_steps(ax: Axes, probabilities: np.ndarray, base_rate: float) -> None:
    """Draw mean and quartiles of M's probability before endings.

    Args:
        ax: the axes to draw on.
        probabilities: (E, LAST_STEPS), see last_steps.
        base_rate: the share of all steps with an ending.
    """
    shown = probabilities[:, ~np.isnan(probabilities).all(0)]
    steps = np.arange(1 - shown.shape[1], 1)
    low, median, high = np.nanpercentile(shown, [25, 50, 75], axis=0).clip(LEAST)
    ax.fill_between(steps, low, high, color=BLUE, alpha=0.2, lw=0, label="quartiles")
    ax.plot(steps, median, color=BLUE, ls="--", lw=1, label="median")
    ax.plot(steps, np.nanmean(shown, axis=0).clip(LEAST), color=BLUE, label="mean")
    ax.axhline(base_rate, color=BLACK, ls=":", lw=1.2, label="share of all steps with an ending")
    ax.axhline(THRESHOLD, color=ORANGE, ls="--", lw=1.2, label=f"{THRESHOLD:g}: a predicted ending")
    ax.set(yscale="log", xlabel="steps to the ending", ylabel=PROBABILITY)
    ax.set_title(f"the last steps of {len(shown)} episodes that end", fontsize=11)
