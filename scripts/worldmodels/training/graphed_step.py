"""A training step that a GPU replays as one CUDA graph."""

import os
import shutil
from collections.abc import Callable

import torch
from torch import nn

from worldmodels.models.cuda_graphs import call_on_side_stream, capture_graph
from worldmodels.runtime.log import log

Step = Callable[..., dict[str, torch.Tensor]]  # takes tensors, steps the optimizer, returns the losses, each ()


class GraphedStep:
    """A training step that the GPU replays as one graph.

    The first calls are not replayed. Nor are calls whose inputs have other shapes than in the first call, such as an
    epoch's last batch. The losses that a call returns are overwritten by the next call.

    Args:
        step: moves its tensors to the device, updates the weights and returns the losses. It must not wait for the GPU.
            A step that waits, for example with a user's own V, is never captured, and the log says so.
        optimizer: of the step. The graph is captured again when its learning rate changes.
        plain: the step for inputs of other shapes; by default the same step.
    """

    WARM_UP = 3

    def __init__(
        self, step: Step, optimizer: torch.optim.Optimizer, device: torch.device, plain: Step | None = None
    ) -> None:
        self.step, self.optimizer, self.device, self.plain = step, optimizer, device, plain or step
        self.calls, self.capturable = 0, True
        self.shapes: list[torch.Size] = []
        self.rates: list[float] = []  # learning rates, which are constants of the graph
        for group in optimizer.param_groups:
            group["capturable"] = True
        for state in optimizer.state.values():  # a state saved on a CPU
            state["step"] = state["step"].to(device)

    def __call__(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take a step on these inputs and return its losses."""
        with torch.cuda.device(self.device):
            shapes = [tensor.shape for tensor in inputs]
            self.shapes = self.shapes or shapes
            if shapes != self.shapes:
                return self.plain(*inputs)
            self.calls += 1
            if self.calls <= self.WARM_UP:
                return call_on_side_stream(self.step, *inputs)
            rates = [group["lr"] for group in self.optimizer.param_groups]
            if self.capturable and rates != self.rates:
                self.capture(inputs)
                self.rates = rates
            if not self.capturable:
                return self.step(*inputs)
            for static, tensor in zip(self.inputs, inputs):
                static.copy_(tensor, non_blocking=True)
            self.graph.replay()
            return self.losses

    def capture(self, inputs: tuple[torch.Tensor, ...]) -> None:
        """Capture the step with inputs of these shapes, if it can be captured."""
        self.graph = self.losses = None  # frees an old graph first: the two would share a stream's workspace
        self.inputs = [tensor.to(self.device, copy=True) for tensor in inputs]
        try:
            self.graph, self.losses = capture_graph(self.step, *self.inputs)
        except RuntimeError as error:
            self.capturable = False
            self.optimizer.zero_grad(set_to_none=True)
            log.info("training steps are launched kernel by kernel (%s)", str(error).splitlines()[0])


def compile_for_gpu(network: nn.Module) -> nn.Module:
    """Return the network compiled by torch.compile, or itself where there is no C compiler, which Triton needs."""
    has_compiler = any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang"))
    return torch.compile(network) if has_compiler else network
