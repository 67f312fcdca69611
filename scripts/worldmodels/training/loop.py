"""What the training loops of V and M share: early stopping, and the state that lets a run continue."""

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from worldmodels.runtime import interrupts
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.progress import progress
from worldmodels.storage.checkpoints import save_checkpoint
from worldmodels.storage.states import keep_other_state, load_state
from worldmodels.training.early_stopping import EarlyStopping

Learn = Callable[[Any], Callable[[], dict[str, float]]]


class TrainingLoop:
    """A model in training: optimiser, schedule, early stopping, history and the best weights so far.

    All of it is one file, saved after every epoch, every few minutes within one, and when a signal asks to stop; from
    it training continues exactly. Data order and noise of an epoch are drawn from the run's seed and its number; within
    an epoch the state of torch's generators is kept.
    """

    SAVE_SECONDS = 300

    def __init__(
        self, path: Path, identity: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: Any
    ) -> None:
        self.path, self.identity, self.model, self.optimizer, self.config = path, identity, model, optimizer, config
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=config.scheduler_factor, patience=config.scheduler_patience
        )
        self.early_stopping = EarlyStopping("min", config.early_stopping_patience)
        self.history: list[dict] = []
        self.best: dict = {"epoch": 0, "precision": float("inf"), "state_dict": {}}
        self.partial: dict | None = None  # of an epoch begun: batches done, sums so far, random states
        if config.noreload:
            keep_other_state(path, identity, log.info)
        else:
            self.resume()

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def over(self) -> bool:
        return self.epoch >= self.config.num_epochs or self.early_stopping.stop

    def resume(self) -> None:
        """Take up the saved state of the same identity that comes next to the wanted number of epochs, if any."""
        state = load_state(
            self.path, self.identity, log.info, lambda state: len(state["history"]), self.config.num_epochs
        )
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        for group in state["optimizer"]["param_groups"]:
            group["capturable"] = False  # what a GPU's graphs need and a CPU refuses; GraphedStep sets it anew
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.early_stopping.load_state_dict(state["early_stopping"])
        self.history, self.best, self.partial = state["history"], state["best"], state["partial"]
        batches = f" and {self.partial['batches']} batches" if self.partial else ""
        log.info("continuing after epoch %d%s", self.epoch, batches)

    def save(self) -> None:
        parts = {name: getattr(self, name) for name in ("identity", "history", "best", "partial")}
        for name in ("model", "optimizer", "scheduler", "early_stopping"):
            parts[name] = getattr(self, name).state_dict()
        save_checkpoint(self.path, parts)

    def need_finite(self, loss: float) -> None:
        """Raise UserError if training has gone astray; the last saved state stays as it is."""
        if not math.isfinite(loss):
            raise UserError(
                f"{self.path}: the loss became {loss} in epoch {self.epoch + 1}; the state saved before is kept. "
                "Try a smaller learning_rate"
            )

    def run_epoch(
        self, name: str, seed: int, count: int, batches: Callable[[int], Iterable], learn: Learn
    ) -> dict[str, float]:
        """Train for an epoch, or for what is left of one that was cut; to be called inside of interrupts.patiently.

        Args:
            name, count: for the progress bar; count is the number of batches.
            seed: of the epoch's noise.
            batches: gives the epoch's batches from this number on.
            learn: takes a step on a batch; gives what waits for the step and gives its losses, summed over the batch,
                and "count", what to divide by. Meanwhile the next batch is drawn.

        Returns:
            The losses per `count`, and the `count` of the epoch.

        Raises:
            Interrupted: a signal came; the state is saved.
            UserError: a loss is not a number.
        """
        if self.partial is None:
            torch.manual_seed(seed)
            done, total = 0, {}
        else:
            set_random_states(self.partial["random"])
            done, total = self.partial["batches"], dict(self.partial["total"])
            self.partial = None
        saved, waiting = time.monotonic(), []

        def account() -> None:
            while waiting:
                for term, value in waiting.pop()().items():
                    self.need_finite(value)
                    total[term] = total.get(term, 0.0) + value

        for batch in progress(batches(done), f"{name}: epoch {self.epoch + 1}", count, initial=done):
            account()
            waiting.append(learn(batch))
            done += 1
            if interrupts.requested() or time.monotonic() - saved > self.SAVE_SECONDS:
                account()
                self.partial = {"batches": done, "total": total, "random": random_states()}
                self.save()
                self.partial, saved = None, time.monotonic()
                interrupts.check()
        account()
        size = total.pop("count")
        return {term: value / size for term, value in total.items()} | {"count": size}

    def finish_epoch(self, row: dict, precision: float) -> None:
        """Close an epoch: schedule, early stopping, best weights, saved state.

        Args:
            row: what the history keeps of the epoch.
            precision: the validation loss.

        Raises:
            UserError: the loss is not a number.
        """
        self.need_finite(precision)
        self.history.append({"epoch": self.epoch + 1, **row, "learning_rate": self.optimizer.param_groups[0]["lr"]})
        self.scheduler.step(precision)
        self.early_stopping.step(precision)
        if precision < self.best["precision"]:
            self.keep_weights(precision)
        self.save()
        interrupts.check()

    def keep_weights(self, precision: float) -> None:
        """Take the present weights for the best so far."""
        weights = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        self.best = {"epoch": self.epoch, "precision": precision, "state_dict": weights}


def random_states() -> list[torch.Tensor]:
    """The states of torch's generators: the CPU's, then each GPU's."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]


def set_random_states(states: list[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    if states[1:]:
        torch.cuda.set_rng_state_all(states[1:][: torch.cuda.device_count()])  # which may be fewer now
