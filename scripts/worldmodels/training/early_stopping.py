"""Early stopping."""


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
