"""Capturing CUDA graphs: hundreds of small kernels take much longer to launch than to run."""

from collections.abc import Callable
from typing import Any

import torch


def call_on_side_stream(function: Callable, *inputs: torch.Tensor) -> Any:
    """Return function(*inputs), called on a stream of its own as CUDA demands before a capture."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        outputs = function(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    return outputs


def capture_graph(function: Callable, *inputs: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, Any]:
    """Return a graph of function(*inputs) and the outputs. Nothing of the graph has run yet.

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
