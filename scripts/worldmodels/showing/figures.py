"""What the figures share: colours, sizes, rows of images, learning curves, and files written whole."""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldmodels.storage.files import write_atomically

# Okabe and Ito's colours (2008), which colour-blind readers can tell apart too; lines also differ in their dashes.
BLACK, BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#000000", "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9",
)  # fmt: skip
STYLE = {
    "font.size": 11,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def new(width: float, height: float) -> Figure:
    """An empty figure, inches, in the common style."""
    matplotlib.rcParams.update(STYLE)
    return Figure(figsize=(width, height))


def save(figure: Figure, path: str | Path) -> None:
    """The figure as a PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def image_rows(
    rows: dict[str, np.ndarray], titles: Sequence[str] = (), notes: Sequence[str] = (), heading: str = ""
) -> Figure:
    """Labelled rows of small images, side by side.

    Args:
        rows: label -> images (N,H,W,C) uint8, as many in each row; C is 1 or 3.
        titles, notes: a text above and below each column.
        heading: above everything.
    """
    count = len(next(iter(rows.values())))
    figure = new(1.15 * count + 1.6, 1.2 * len(rows) + 0.35 * bool(titles) + 0.35 * bool(notes) + 0.5 * bool(heading))
    axes = figure.subplots(len(rows), count, squeeze=False)
    for line, (label, images) in zip(axes, rows.items()):
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
        for ax, image in zip(line, images):
            ax.imshow(np.repeat(image, 3 // image.shape[-1], axis=-1), interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.grid(False)
    for ax, title in zip(axes[0], titles):
        ax.set_title(title, fontsize=10)
    for ax, note in zip(axes[-1], notes):
        ax.set_xlabel(note, fontsize=9)
    figure.suptitle(heading or None, fontsize=11)
    return figure


def curves(ax: Axes, history: list[dict], term: str, label: str) -> None:
    """A loss by epoch: in training and on held-out episodes."""
    epochs = [row["epoch"] for row in history]
    mark = "o" if len(epochs) < 40 else ""
    ax.plot(epochs, [row[f"train_{term}"] for row in history], color=BLUE, marker=mark, ms=3, label="training")
    ax.plot(epochs, [row[term] for row in history], color=ORANGE, ls="--", marker=mark, ms=3, label="held out")
    ax.set(xlabel="epoch", ylabel=label)
    ax.xaxis.get_major_locator().set_params(integer=True)


def mark_epoch(ax: Axes, epoch: int, label: str) -> None:
    """A line at the epoch whose weights were kept."""
    ax.axvline(epoch, color=BLACK, ls=":", lw=1.2, label=f"{label} {epoch}")


def learning_rate(ax: Axes, history: list[dict]) -> None:
    """The learning rate's steps by epoch."""
    ax.step([row["epoch"] for row in history], [row["learning_rate"] for row in history], color=GREEN, where="mid")
    ax.set(xlabel="epoch", ylabel="learning rate", yscale="log")
    low, high = ax.get_ylim()
    ax.set_ylim(low / 2, high * 2)
    ax.xaxis.get_major_locator().set_params(integer=True)
