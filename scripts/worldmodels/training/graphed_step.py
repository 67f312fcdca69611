"""A training step that a GPU replays as one CUDA graph."""

import os
import shutil
from collections.abc import Callable

import torch
from torch import nn

from worldmodels.models.cuda_graphs import call_on_side_stream, capture_graph
from worldmodels.runtime.log import log

Step = Callable[..., dict[str, torch.Tensor]]  # takes tensors; steps the optimizer; gives its terms, each ()


class GraphedStep:
    """A training step that the GPU replays as a whole.

    The first calls run as they are, and so do those with inputs of other shapes than the first one's: an epoch's last
    batch. The terms that a call gives hold until the next call.

    Args:
        step: brings its tensors to the device, moves the weights and gives the terms of the loss. It may not wait for
            the GPU. A step that does, in a V of one's own, is never captured, and a line in the log says so.
        optimizer: the one that it steps; a change of its learning rate is followed.
        plain: the step for inputs of other shapes; by default the same.
    """

    WARM_UP = 3

    def __init__(
        self, step: Step, optimizer: torch.optim.Optimizer, device: torch.device, plain: Step | None = None
    ) -> None:
        self.step, self.optimizer, self.device, self.plain = step, optimizer, device, plain or step
        self.calls, self.possible = 0, True
        self.shapes: list[torch.Size] = []
        self.rates: list[float] = []  # constants of the graph
        for group in optimizer.param_groups:
            group["capturable"] = True
        for state in optimizer.state.values():  # where it goes on from a CPU's
            state["step"] = state["step"].to(device)

    def __call__(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.cuda.device(self.device):
            shapes = [tensor.shape for tensor in inputs]
            self.shapes = self.shapes or shapes
            if shapes != self.shapes:
                return self.plain(*inputs)
            self.calls += 1
            if self.calls <= self.WARM_UP:
                return call_on_side_stream(self.step, *inputs)
            rates = [group["lr"] for group in self.optimizer.param_groups]
            if self.possible and rates != self.rates:
                self.capture(inputs)
                self.rates = rates
            if not self.possible:
                return self.step(*inputs)
            for static, given in zip(self.inputs, inputs):
                static.copy_(given, non_blocking=True)
            self.graph.replay()
            return self.terms

    def capture(self, inputs: tuple[torch.Tensor, ...]) -> None:
        self.graph = self.terms = None  # an old one goes first: the two would share a stream's workspace
        self.inputs = [tensor.to(self.device, copy=True) for tensor in inputs]
        try:
            self.graph, self.terms = capture_graph(self.step, *self.inputs)
        except RuntimeError as error:
            self.possible = False
            self.optimizer.zero_grad(set_to_none=True)
            log.info("training steps are launched kernel by kernel (%s)", str(error).splitlines()[0])


def compile_for_gpu(network: nn.Module) -> nn.Module:
    """The network as torch.compile makes it for a GPU; itself where there is no C compiler, which Triton needs."""
    found = any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang"))
    return torch.compile(network) if found else network
