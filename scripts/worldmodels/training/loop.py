"""The epoch loop of V's and M's training, and the state from which a stopped training continues."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from worldmodels.runtime import interrupts
from worldmodels.runtime.curves import curves
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.progress import progress
from worldmodels.storage.checkpoints import save_checkpoint
from worldmodels.storage.states import keep_other_state, load_state
from worldmodels.training.early_stopping import EarlyStopping


@dataclass
class PendingLosses:
    """The losses of a batch, summed over it, which a GPU may still be computing.

    Attributes:
        sums: name -> tensor ().
        count: what the sums are divided by: the images, or the rows, of the batch.
    """

    sums: dict[str, torch.Tensor]
    count: torch.Tensor | int

    def read(self) -> dict[str, float]:
        """Return the sums and the `count` as numbers; this waits for the GPU."""
        return {name: loss.item() for name, loss in self.sums.items()} | {"count": float(self.count)}


class TrainingLoop:
    """A model in training: optimizer, schedule, early stopping, history and the best weights so far.

    The state is one file. It is saved after every epoch, every few minutes within an epoch, and when a signal asks the
    program to stop. Training continues from it exactly. Data order and noise of an epoch come from the run's seed and
    the epoch's number. A state that is saved within an epoch holds the states of torch's generators.

    Attributes:
        history: a row per finished epoch.
        best: epoch, precision (validation loss) and state_dict of the best weights so far.
        partial: of an epoch that was interrupted: batches learnt, sums of the losses, states of the generators.
        rate: images or rows per second in the last epoch, as far as this program has trained it. It only shows.

    Args:
        path: the file of the state.
        identity: stamp of the configuration, code and data; a saved state with another stamp is not continued.
        config: the section vae or mdrnn: its schedule, its number of epochs, and whether to start over.
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
        self.partial: dict | None = None
        self.rate = 0.0
        if config.noreload:
            keep_other_state(path, identity, log.info)
        else:
            self.resume()
        curves.start(path.parent.name, identity, self.history)

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.history)

    @property
    def over(self) -> bool:
        """Whether the budget of epochs is spent or the validation loss has stopped to improve."""
        return self.epoch >= self.config.num_epochs or self.early_stopping.stop

    def resume(self) -> None:
        """Continue the saved state of this identity that is nearest to the budget of epochs, if there is one."""
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
        """Write the state."""
        state = {name: getattr(self, name) for name in ("identity", "history", "best", "partial")}
        for name in ("model", "optimizer", "scheduler", "early_stopping"):
            state[name] = getattr(self, name).state_dict()
        save_checkpoint(self.path, state)

    def check_finite(self, loss: float) -> None:
        """Raise UserError if the training has diverged. The last saved state is kept."""
        if not math.isfinite(loss):
            raise UserError(
                f"{self.path}: the loss became {loss} in epoch {self.epoch + 1}; the state saved before is kept. "
                "Try a smaller learning_rate"
            )

    def run_epoch(
        self,
        name: str,
        seed: int,
        num_batches: int,
        batches: Callable[[int], Iterable],
        learn: Callable[[Any], PendingLosses],
    ) -> dict[str, float]:
        """Train for an epoch, or for the rest of an interrupted one. Call it within interrupts.patiently.

        Args:
            name, num_batches: for the progress bar.
            seed: of the epoch's noise.
            batches: returns the epoch's batches from this number on.
            learn: takes a step on a batch. While a GPU computes, the next batch is drawn.

        Returns:
            The losses per `count`, see PendingLosses, and the `count` of the epoch.

        Raises:
            Interrupted: a signal came; the state is saved.
            UserError: a loss is not a number.
        """
        number, sums = self.begin_epoch(seed)
        count_before, start = sums.get("count", 0.0), time.monotonic()
        saved_at, pending = start, None
        for batch in progress(batches(number), f"{name}: epoch {self.epoch + 1}", num_batches, initial=number):
            self.add_losses(sums, pending)
            pending = learn(batch)
            number += 1
            if interrupts.requested() or time.monotonic() - saved_at > self.SAVE_SECONDS:
                self.add_losses(sums, pending)
                self.save_within_epoch(number, sums)
                saved_at, pending = time.monotonic(), None
                interrupts.check()
        self.add_losses(sums, pending)
        count = sums.pop("count")
        self.rate = (count - count_before) / (time.monotonic() - start)
        return {name: total / count for name, total in sums.items()} | {"count": count}

    def begin_epoch(self, seed: int) -> tuple[int, dict[str, float]]:
        """Seed torch's generators, or restore their states in an interrupted epoch.

        Returns:
            The number of batches learnt so far, and the sums of their losses.
        """
        if self.partial is None:
            torch.manual_seed(seed)
            return 0, {}
        set_random_states(self.partial["random"])
        number, sums = self.partial["batches"], dict(self.partial["total"])
        self.partial = None
        return number, sums

    def add_losses(self, sums: dict[str, float], pending: PendingLosses | None) -> None:
        """Add a batch's losses, if there are any, to the sums of the epoch.

        Raises:
            UserError: a loss is not a number.
        """
        if pending is None:
            return
        for name, loss in pending.read().items():
            self.check_finite(loss)
            sums[name] = sums.get(name, 0.0) + loss

    def save_within_epoch(self, number: int, sums: dict[str, float]) -> None:
        """Write the state after this number of batches."""
        self.partial = {"batches": number, "total": sums, "random": random_states()}
        self.save()
        self.partial = None

    def finish_epoch(self, row: dict, precision: float) -> None:
        """Finish an epoch: schedule, early stopping, best weights, saved state.

        Args:
            row: of the history, without the epoch's number and the learning rate.
            precision: the validation loss.

        Raises:
            UserError: the loss is not a number.
        """
        self.check_finite(precision)
        self.history.append({"epoch": self.epoch + 1, **row, "learning_rate": self.optimizer.param_groups[0]["lr"]})
        self.scheduler.step(precision)
        self.early_stopping.step(precision)
        if precision < self.best["precision"]:
            self.keep_weights(precision)
        self.save()
        curves.add_rows(self.history, self.rate)
        interrupts.check()

    def keep_weights(self, precision: float) -> None:
        """Keep the present weights as the best so far."""
        weights = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        self.best = {"epoch": self.epoch, "precision": precision, "state_dict": weights}


def random_states() -> list[torch.Tensor]:
    """Return the states of torch's generators: the CPU's, then each GPU's."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]


def set_random_states(states: list[torch.Tensor]) -> None:
    """Restore the states that random_states returned; there may be fewer GPUs now."""
    torch.set_rng_state(states[0])
    if states[1:]:
        torch.cuda.set_rng_state_all(states[1:][: torch.cuda.device_count()])
