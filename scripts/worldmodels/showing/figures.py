"""What the figures share: colors, style, legends, rows of images, learning curves, and the report's folder."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from worldmodels.storage.files import prepare_folder, write_atomically

# The colors of Okabe and Ito (2008). Color-blind readers can tell them apart. Lines also differ in their dashes.
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
MANY_EPOCHS = 40  # From here on a learning curve has no markers.
CHARACTERS_PER_INCH = 11  # of a heading: fewer than fit


def report_folder(logdir: str) -> Path:
    """Return the folder of a run's figures. It is created if it is missing.

    Raises:
        UserError: The folder cannot be written to.
    """
    folder = Path(logdir) / "report"
    prepare_folder(folder)
    return folder


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure in the common style.

    Args:
        width: inches.
        height: inches.
    """
    matplotlib.rcParams.update(STYLE)
    return Figure(figsize=(width, height))


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write the figure as a PNG. The same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def draw_legend(figure: FigureBase, ax: Axes, columns: int) -> None:
    """Draw the legend of the axes below all axes of the figure, where it covers nothing.

    Args:
        figure: the figure or the part of a figure (subfigure) that gets the legend.
        ax: the axes whose labeled lines the legend explains.
        columns: of the legend.
    """
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def draw_image_rows(
    rows: dict[str, np.ndarray], titles: Sequence[str] = (), notes: Sequence[str] = (), heading: str = ""
) -> Figure:
    """Draw labeled rows of small images.

    Args:
        rows: label -> images (N,H,W,C) uint8. Every row has N images. C is 1 or 3.
        titles: text above each column.
        notes: text below each column.
        heading: text above the figure. It is wrapped to the figure's width.
    """
    columns = len(next(iter(rows.values())))
    width = 1.15 * columns + 1.6
    lines = textwrap.wrap(heading, int(width * CHARACTERS_PER_INCH))
    height = 1.2 * len(rows) + 0.35 * bool(titles) + 0.35 * bool(notes) + 0.3 * bool(heading) + 0.2 * len(lines)
    figure = new_figure(width, height)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, (label, images) in zip(grid, rows.items()):
        axes[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
        for ax, image in zip(axes, images):
            draw_image(ax, image)
    for ax, title in zip(grid[0], titles):
        ax.set_title(title, fontsize=10)
    for ax, note in zip(grid[-1], notes):
        ax.set_xlabel(note, fontsize=9)
    figure.suptitle("\n".join(lines) or None, fontsize=11)
    return figure


def draw_image(ax: Axes, image: np.ndarray) -> None:
    """Draw an image (H,W,C) uint8 without ticks, frame and grid. C is 1 or 3."""
    ax.imshow(np.repeat(image, 3 // image.shape[-1], axis=-1), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(False)


def draw_learning_curves(ax: Axes, history: list[dict], term: str, label: str) -> None:
    """Draw a term of the loss by epoch, in training and on held-out episodes.

    Args:
        ax: the axes to draw on.
        history: a row per epoch with the keys `epoch`, `<term>` and `train_<term>`.
        term: the term's name in the history.
        label: the name and the unit of the y axis.
    """
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(epochs) < MANY_EPOCHS else ""
    training, held_out = [row[f"train_{term}"] for row in history], [row[term] for row in history]
    ax.plot(epochs, training, color=BLUE, marker=marker, ms=3, label="training")
    ax.plot(epochs, held_out, color=ORANGE, ls="--", marker=marker, ms=3, label="held out")
    ax.set(xlabel="epoch", ylabel=label)
    ax.xaxis.get_major_locator().set_params(integer=True)


def draw_kept_epoch(ax: Axes, epoch: int) -> None:
    """Draw a vertical line at the epoch whose weights were kept."""
    ax.axvline(epoch, color=BLACK, ls=":", lw=1.2, label=f"kept: epoch {epoch}")


def draw_learning_rate(ax: Axes, history: list[dict]) -> None:
    """Draw the steps of the learning rate by epoch.

    Args:
        ax: the axes to draw on.
        history: a row per epoch with the keys `epoch` and `learning_rate`.
    """
    ax.step([row["epoch"] for row in history], [row["learning_rate"] for row in history], color=GREEN, where="mid")
    ax.set(xlabel="epoch", ylabel="learning rate", yscale="log")
    low, high = ax.get_ylim()
    ax.set_ylim(low / 2, high * 2)
    ax.xaxis.get_major_locator().set_params(integer=True)
