"""A function that a GPU replays as one CUDA graph."""

from collections.abc import Callable

import torch

from worldmodels.models.cuda_graphs import capture_graph


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
        self.capturable = True

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.cuda.device(self.device):
            if self.graph is None and self.capturable:
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
            self.graph, self.outputs = capture_graph(self.function, *self.inputs)
        except RuntimeError:
            self.capturable = False
