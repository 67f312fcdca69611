"""The curves of a run for TensorBoard: event files in <logdir>/tensorboard.

Curves only show. What fails here becomes one warning, and the stage goes on without curves. A stage writes the curves
of an epoch or generation after it has saved its state. A stage that continues from its saved state continues its
curves: they forget what the state does not know, and take from the state's history what they lack. A stage that starts
over replaces its curves.

A stage has a folder of its own, so that nothing it forgets is another stage's. The folder score holds the main result
of each stage, and the configuration as TensorBoard's hyperparameters.
"""

import functools
import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from worldmodels.runtime.event_files import EventFile, event_files, last_steps
from worldmodels.runtime.log import log

Scalars = dict[str, float | None]
SCORES = "score"  # the folder of the main results


def harmless(method: Callable) -> Callable:
    """Return a method of Curves that does nothing where no curves are wanted, and that warns where it fails."""

    @functools.wraps(method)
    def call(self: "Curves", *args: Any, **kwargs: Any) -> None:
        if self.folder is None:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            log.warning("tensorboard: %s cannot be written, no more curves: %s", self.folder, reason)
            self.folder = None

    return call


class Curves:
    """The curves of the stage that this program is.

    Attributes:
        folder: <logdir>/tensorboard. None: no curves are wanted, and no method does anything.
        hparams: the configuration of the run, by section.key. Empty: a program that was started by hand.
        scalars: returns the values of an epoch or generation, by the ends of their tags. See SCALARS.
        group: the beginning of the tags.
        file: the stage's event file.
        last: the last step of each curve in the stage's earlier files, by tag.
        rows: the number of the history's rows that have been written.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.hparams: dict[str, Any] = {}
        self.rows = 0

    def set_up(self, logdir: str, wanted: bool, hparams: dict[str, Any]) -> None:
        """Say where the curves go, and whether they are wanted. Without the tensorboard package there are none."""
        self.folder, self.hparams = None, hparams
        if wanted and importlib.util.find_spec("tensorboard"):
            self.folder = Path(logdir) / "tensorboard"

    @harmless
    def start(self, stage: str, identity: str, history: Sequence[dict], group: str = "") -> None:
        """Continue or replace the curves of a stage.

        Args:
            stage: vae, mdrnn, ctrl or evaluate.
            identity: stamp of the stage's saved state. Curves of another identity are replaced.
            history: the rows of the saved state that the stage continues from; empty if it starts over.
            group: the beginning of the tags. Default: the stage.
        """
        folder, ending = self.folder / stage, f".{identity[:8]}"
        earlier = event_files(folder, ending) if history else []
        for path in set(event_files(folder)) - set(earlier):
            path.unlink()
        self.file = EventFile(folder, ending)
        self.last, steps = last_steps(earlier), len(history)
        if max(self.last.values(), default=0) > steps:  # with a lower budget; some readers notice only a repeated step
            steps -= 1
        self.last = {tag: min(step, steps) for tag, step in self.last.items()}
        if earlier:
            self.file.purge(steps + 1)
        self.group, self.scalars, self.rows = group or stage, SCALARS.get(stage), 0
        self.write_hparams()
        self.write_rows(history)
        self.file.flush()

    @harmless
    def add_rows(self, history: Sequence[dict], rate: float = 0.0) -> None:
        """Write what the history says of epochs or generations that have ended since the last call.

        Args:
            history: of the stage, from its first row.
            rate: images or steps per second in the last row. 0: unknown, or the row says it.
        """
        self.write_rows(history)
        if rate:
            name = "images_per_second" if self.group == "vae" else "steps_per_second"
            self.write_scalar(f"{self.group}/{name}", rate, len(history))
        self.file.flush()

    @harmless
    def add_samples(self, folder: Path, epoch: int) -> None:
        """Write the pictures of training/samples.py that V's training has made after an epoch."""
        for name in ("reconstruction", "sample"):
            self.write_picture(f"{self.group}/{name}", folder / f"{name}_{epoch:04d}.png", epoch)
        self.file.flush()

    @harmless
    def add_test(self, returns: Sequence[float], lengths: Sequence[int], step: int) -> None:
        """Write the histograms of the official test.

        Args:
            returns, lengths: of its episodes.
            step: the generation that the tested C comes from.
        """
        import numpy as np
        from torch.utils.tensorboard import summary

        for name, values in (("returns", returns), ("lengths", lengths)):
            histogram = summary.histogram(f"{self.group}/{name}", np.array(values, dtype=float), "auto")
            self.file.write(step=step, summary=histogram)
        self.file.flush()

    @harmless
    def add_score(self, stage: str, scores: dict[str, float], step: int) -> None:
        """Write the main result of a stage, in place of an earlier one.

        Args:
            stage: which the result belongs to.
            scores: the numbers by tag.
            step: the epoch or generation that the result comes from.
        """
        from torch.utils.tensorboard import summary

        file = EventFile(self.folder / SCORES, f".{stage}")
        for tag, value in scores.items():
            file.write(step=step, summary=summary.scalar(tag, value))
        replace_files(file, f".{stage}")

    def write_rows(self, history: Sequence[dict]) -> None:
        """Write the rows since the last call, and what the row before them lacked: C's validation comes a row late."""
        for number in range(max(0, self.rows - 1), len(history)):
            previous = history[number - 1] if number else {}
            for name, value in self.scalars(history[number], previous).items():
                tag = f"{self.group}/{name}"
                if value is not None and number + 1 > self.last.get(tag, 0):
                    self.write_scalar(tag, value, number + 1)
        self.rows = len(history)

    def write_scalar(self, tag: str, value: float, step: int) -> None:
        """Write a point of a curve."""
        from torch.utils.tensorboard import summary

        self.file.write(step=step, summary=summary.scalar(tag, value))
        self.last[tag] = step

    def write_picture(self, tag: str, path: Path, step: int) -> None:
        """Write a PNG as it is."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(path) as picture:
            sizes = {"width": picture.width, "height": picture.height, "colorspace": len(picture.getbands())}
        image = Summary.Image(encoded_image_string=path.read_bytes(), **sizes)
        self.file.write(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=image)]))

    def write_hparams(self) -> None:
        """Write the configuration, unless an earlier stage has written the same one."""
        digest = hashlib.sha256(json.dumps(self.hparams, sort_keys=True).encode()).hexdigest()[:8]
        folder = self.folder / SCORES
        if not self.hparams or event_files(folder, f".{digest}.hparams"):
            return
        file = EventFile(folder, f".{digest}.hparams")
        file.write(summary=hparams_summary(self.hparams))
        replace_files(file, ".hparams")


def replace_files(file: EventFile, ending: str) -> None:
    """Flush a file, and delete the other files in its folder whose names have this ending."""
    file.flush()
    for path in event_files(file.path.parent, ending):
        if path != file.path:
            path.unlink(missing_ok=True)


def hparams_summary(hparams: dict[str, Any]) -> Any:
    """Return a configuration as TensorBoard's hyperparameters.

    Without an experiment's summary TensorBoard takes the columns of its table from the runs. Without a group's name it
    calls a run by its folder, wherever the folder is moved.

    Args:
        hparams: numbers, texts and truth values by name. Other values become JSON.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    start = SessionStartInfo()
    for name, value in hparams.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, (int, float)):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = value if isinstance(value, str) else json.dumps(value)
    described = metadata.create_summary_metadata(HParamsPluginData(session_start_info=start))
    value = Summary.Value(tag=metadata.SESSION_START_INFO_TAG, metadata=described, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


def vae_scalars(row: dict, previous: dict) -> Scalars:
    """Return the values of an epoch of V's training, per image."""
    return {
        "loss_validation": row["loss"],
        "squared_error_train": row["train_mse"],
        "squared_error_validation": row["mse"],
        "kl_train": row["train_kl"],
        "kl_validation": row["kl"],
        "learning_rate": row["learning_rate"],
    }


def mdrnn_scalars(row: dict, previous: dict) -> Scalars:
    """Return the values of an epoch of M's training. Precision and recall are about the endings in validation."""
    names = {"loss": "loss", "gmm": "latents", "bce": "terminal", "mse": "reward"}
    train = {f"{shown}_train": row[f"train_{name}"] for name, shown in names.items()}
    validation = {f"{shown}_validation": row[name] for name, shown in names.items()}
    return {
        **train,
        **validation,
        "terminal_precision": ratio(row["hits"], row["predicted"]),
        "terminal_recall": ratio(row["hits"], row["endings"]),
        "learning_rate": row["learning_rate"],
    }


def ctrl_scalars(row: dict, previous: dict) -> Scalars:
    """Return the values of a generation of C's training."""
    steps = row["env_steps"] - previous.get("env_steps", 0)
    return {
        "return_mean": row["return_mean"],
        "return_max": row["return_max"],
        "return_validated": row["validation_mean"],
        "sigma": row["sigma"],
        "steps": row["env_steps"],
        "steps_per_second": ratio(steps, row["seconds"]),
    }


def ratio(part: float, whole: float) -> float | None:
    """Return a ratio, or None where the whole is 0."""
    return part / whole if whole else None


# Stage -> what it shows of a row of its history, with the row before.
SCALARS: dict[str, Callable[[dict, dict], Scalars]] = {
    "vae": vae_scalars,
    "mdrnn": mdrnn_scalars,
    "ctrl": ctrl_scalars,
}

curves = Curves()
