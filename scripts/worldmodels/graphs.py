"""What a GPU does over and over as CUDA graphs: hundreds of small kernels take much longer to launch than to run."""

import os
import shutil
from collections.abc import Callable

import torch
from torch import nn

from worldmodels.cli import log

Step = Callable[..., dict[str, torch.Tensor]]  # takes tensors; steps the optimizer; gives its terms, each ()


class GraphedFunction:
    """A function of tensors, called again and again with inputs of the same shapes, that the GPU replays as a whole.

    What a call gives holds until the next one.

    Args:
        function: takes tensors on the device and gives some, made of its inputs and from what stays the same alone.
            It may not wait for the GPU. One that does, with a V of one's own, is called as it is.
    """

    def __init__(self, function: Callable[..., tuple[torch.Tensor, ...]], device: torch.device) -> None:
        self.function, self.device = function, device
        self.graph: torch.cuda.CUDAGraph | None = None
        self.possible = True

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.cuda.device(self.device):
            if self.graph is None and self.possible:
                self.capture(inputs)
            if self.graph is None:
                return self.function(*(tensor.to(self.device) for tensor in inputs))
            for static, given in zip(self.inputs, inputs):
                static.copy_(given, non_blocking=True)
            self.graph.replay()
            return self.outputs

    def capture(self, inputs: tuple[torch.Tensor, ...]) -> None:
        self.inputs = [tensor.to(self.device, copy=True) for tensor in inputs]
        self.function(*self.inputs)  # libraries set themselves up
        try:
            self.graph, self.outputs = record(self.function, *self.inputs)
        except RuntimeError:
            self.possible = False


def aside(function: Callable, *inputs: torch.Tensor):
    """function(*inputs), on a stream of its own, as it has to be called before a capture."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        outputs = function(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    return outputs


def record(function: Callable, *inputs: torch.Tensor):
    """A graph of function(*inputs), of which nothing has run yet, and its outputs.

    Raises:
        RuntimeError: the function waits for the GPU.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    spare = generator.clone_state()
    try:
        with torch.cuda.graph(graph):
            outputs = function(*inputs)
    except RuntimeError:
        # torch leaves its capture's stream in place, and a generator that will not draw outside of a capture.
        torch.cuda.set_stream(stream)
        generator.graphsafe_set_state(spare)
        raise
    return graph, outputs


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
                return aside(self.step, *inputs)
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
            self.graph, self.terms = record(self.step, *self.inputs)
        except RuntimeError as error:
            self.possible = False
            self.optimizer.zero_grad(set_to_none=True)
            log.info("training steps are launched kernel by kernel (%s)", str(error).splitlines()[0])


def compiled(network: nn.Module) -> nn.Module:
    """The network as torch.compile makes it for a GPU; itself where there is no C compiler, which Triton needs."""
    found = any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang"))
    return torch.compile(network) if found else network
