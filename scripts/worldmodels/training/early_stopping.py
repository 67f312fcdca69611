"""Early stopping: when a loss has stopped to improve."""

import math


class EarlyStopping:
    """Counts the epochs without improvement; `stop` is true after `patience` of them.

    An improvement is a drop (mode "min") or a rise ("max") by more than the threshold, as in torch's ReduceLROnPlateau.
    The threshold is a share of the best value ("rel") or an absolute number ("abs").

    Attributes:
        best: the best value so far; infinite before the first one.
        num_bad_epochs: epochs since then.
        last_epoch: number of the last epoch, from 0 on; -1 before the first one.

    Raises:
        ValueError: an unknown mode or threshold_mode.
    """

    def __init__(
        self, mode: str = "min", patience: int = 10, threshold: float = 1e-4, threshold_mode: str = "rel"
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode: expected min or max, found {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold_mode: expected rel or abs, found {threshold_mode!r}")
        self.mode, self.patience, self.threshold, self.threshold_mode = mode, patience, threshold, threshold_mode
        self.best = float("inf") if mode == "min" else float("-inf")
        self.num_bad_epochs = 0
        self.last_epoch = -1

    @property
    def stop(self) -> bool:
        """Whether training should stop."""
        return self.num_bad_epochs >= self.patience

    def improves(self, value: float) -> bool:
        """Return whether the value is an improvement; NaN never is."""
        if math.isinf(self.best):
            return not math.isnan(value)
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def step(self, value: float) -> None:
        """Count an epoch with this value."""
        self.last_epoch += 1
        if self.improves(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1

    def state_dict(self) -> dict:
        """Return the best value and the counts."""
        return {"best": self.best, "num_bad_epochs": self.num_bad_epochs, "last_epoch": self.last_epoch}

    def load_state_dict(self, state: dict) -> None:
        """Restore what state_dict returned."""
        self.best, self.num_bad_epochs = state["best"], state["num_bad_epochs"]
        self.last_epoch = state["last_epoch"]
