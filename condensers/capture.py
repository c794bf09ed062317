"""CUDA graphs: a step of the loop launched as one piece instead of some hundred kernels, each waited for by Python."""

import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")
WARM_UP = 3  # eager calls first: libraries choose kernels, optimisers make their buffers


class Captured(Generic[Result]):
    """A function without arguments that is recorded once on CUDA and then replayed; elsewhere simply called.

    The function must work on the same tensors every time, wait for nothing, and decide nothing on the host. What it
    returns is overwritten by the next call. A function that cannot be recorded goes on being called, with a warning.
    """

    def __init__(self, function: Callable[[], Result], device: torch.device) -> None:
        self.function = function
        self.eager_calls_left = WARM_UP if device.type == "cuda" else None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> Result:
        """Call or replay the function."""
        if self.eager_calls_left == 0:
            self._record()
        if self.graph is None:
            return self._call()
        self.graph.replay()
        return self.result

    def _call(self) -> Result:
        if self.eager_calls_left is not None:
            self.eager_calls_left -= 1
        return self.function()

    def _record(self) -> None:
        self.eager_calls_left = None
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.result = self.function()
        except RuntimeError as error:
            warnings.warn(f"not captured as a CUDA graph, so slower: {error}", stacklevel=3)
        else:
            self.graph = graph
