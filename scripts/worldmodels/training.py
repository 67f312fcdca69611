"""What the training loops of V and M share: early stopping, and the state that lets a run continue."""

from collections.abc import Callable
from pathlib import Path

import torch

from worldmodels import checkpoint
from worldmodels.settings import UserError


class EarlyStopping:
    """Counts the epochs since the last improvement; `stop` once there were `patience` of them.

    An improvement is a drop (mode "min") or rise ("max") beyond the threshold, which is a share of the best
    value ("rel") or a number ("abs"), as in torch's ReduceLROnPlateau.

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

    @property
    def stop(self) -> bool:
        return self.num_bad_epochs >= self.patience

    def improves(self, value: float) -> bool:
        if self.best in (float("inf"), float("-inf")):
            return value == value
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def step(self, value: float) -> None:
        """Take in an epoch's value; NaN is never an improvement."""
        if self.improves(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1

    def state_dict(self) -> dict:
        return {"best": self.best, "num_bad_epochs": self.num_bad_epochs}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.num_bad_epochs = state["best"], state["num_bad_epochs"]


class Progress:
    """A model in training: optimiser, schedule, early stopping, history and the best weights so far.

    Saved after every epoch as one file, from which training continues exactly: data order and noise of an epoch
    are drawn from the run's seed and the epoch's number, so no random state needs keeping.
    """

    def __init__(
        self, path: Path, identity: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer, config
    ) -> None:
        self.path, self.identity, self.model, self.optimizer = path, identity, model, optimizer
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=config.scheduler_factor, patience=config.scheduler_patience
        )
        self.early_stopping = EarlyStopping("min", config.early_stopping_patience)
        self.history: list[dict] = []
        self.best: dict = {"epoch": 0, "precision": float("inf"), "state_dict": {}}

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    def resume(self, report: Callable[[str], None]) -> None:
        """Take up the saved state, if there is one of the same identity."""
        state = checkpoint.load_state(self.path, self.identity, report)
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.early_stopping.load_state_dict(state["early_stopping"])
        self.history, self.best = state["history"], state["best"]
        report(f"continuing after epoch {self.epoch}")

    def finish_epoch(self, row: dict, precision: float) -> None:
        """Close an epoch: schedule, early stopping, best weights, saved state.

        Args:
            row: what the history keeps of the epoch.
            precision: the validation loss.

        Raises:
            UserError: the loss is not a number; the state of the epoch before stays as it is.
        """
        if not torch.isfinite(torch.tensor(precision)):
            raise UserError(
                f"{self.path}: the loss became {precision} in epoch {self.epoch + 1}; the state before it is kept. "
                "Try a smaller learning_rate"
            )
        self.history.append({"epoch": self.epoch + 1, **row, "learning_rate": self.optimizer.param_groups[0]["lr"]})
        self.scheduler.step(precision)
        self.early_stopping.step(precision)
        if precision < self.best["precision"]:
            weights = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
            self.best = {"epoch": self.epoch, "precision": precision, "state_dict": weights}
        checkpoint.save(
            self.path,
            {
                "identity": self.identity,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "early_stopping": self.early_stopping.state_dict(),
                "history": self.history,
                "best": self.best,
            },
        )
