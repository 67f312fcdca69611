"""A function that a GPU replays as one CUDA graph."""

from collections.abc import Callable

import torch

from worldmodels.models.cuda_graphs import capture_graph


class GraphedFunction:
    """A function of tensors that the GPU replays as one CUDA graph, for calls with inputs of the same shapes.

    The outputs of a call are overwritten by the next call.

    Args:
        function: takes and returns tensors on the device. Its outputs depend only on its inputs and on values that
            never change. A function that waits for the GPU, as a custom V may do, is called without a graph.
        device: a GPU.

    Attributes:
        capturable: False after the capture has failed.
    """

    def __init__(self, function: Callable[..., tuple[torch.Tensor, ...]], device: torch.device) -> None:
        self.function, self.device = function, device
        self.graph: torch.cuda.CUDAGraph | None = None
        self.capturable = True

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs for these inputs, which may be on any device."""
        with torch.cuda.device(self.device):
            if self.graph is None and self.capturable:
                self.capture(inputs)
            if self.graph is None:
                return self.function(*(tensor.to(self.device) for tensor in inputs))
            for graph_input, tensor in zip(self.graph_inputs, inputs):
                graph_input.copy_(tensor, non_blocking=True)
            self.graph.replay()
            return self.outputs

    def capture(self, inputs: tuple[torch.Tensor, ...]) -> None:
        """Capture a graph for inputs of these shapes, or set `capturable` to False."""
        self.graph_inputs = [tensor.to(self.device, copy=True) for tensor in inputs]
        self.function(*self.graph_inputs)  # the first call sets up CUDA's libraries, which a capture cannot
        try:
            self.graph, self.outputs = capture_graph(self.function, *self.graph_inputs)
        except RuntimeError:
            self.capturable = False
