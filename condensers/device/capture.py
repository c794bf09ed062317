"""CUDA graphs: a step of the loop launched as one piece, not as hundreds of kernels that Python starts one by one."""

import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")
WARM_UP = 3  # eager calls first: libraries choose kernels, optimisers make their buffers


class Captured(Generic[Result]):
    """Calls one function again and again; on CUDA it is recorded after some calls, and then replayed.

    The function must work on the same tensors every time, wait for nothing, and decide nothing on the host. What it
    returns is overwritten by the next call. A function that cannot be recorded goes on being called, with a warning.

    The function is passed with every call and not stored. A stored method would refer to its object, which refers to
    this one: such a reference cycle holds the graph's GPU memory until Python collects garbage.
    """

    def __init__(self, device: torch.device) -> None:
        self.eager_calls_left = WARM_UP if device.type == "cuda" else None
        # The same stream from the first call on: some libraries set themselves up once per stream, and cannot do so
        # while a graph is recorded.
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, function: Callable[[], Result]) -> Result:
        """Call or replay the function, the same one every time."""
        if self.eager_calls_left == 0:
            self._record(function)
        if self.graph is not None:
            self.graph.replay()
            return self.result
        if self.eager_calls_left is None:
            return function()
        self.eager_calls_left -= 1
        return self._warm_up(function)

    def _warm_up(self, function: Callable[[], Result]) -> Result:
        caller = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(caller)
        with torch.cuda.stream(self.stream):
            result = function()
        caller.wait_stream(self.stream)
        return result

    def _record(self, function: Callable[[], Result]) -> None:
        self.eager_calls_left = None
        graph = torch.cuda.CUDAGraph()
        caller = torch.cuda.current_stream(self.stream.device)
        try:
            # The outer context restores the caller's stream: after a failed recording torch does not.
            with torch.cuda.stream(caller), torch.cuda.graph(graph, stream=self.stream):
                self.result = function()
        except RuntimeError as error:
            warnings.warn(f"not captured as a CUDA graph, so slower: {error}", stacklevel=3)
        else:
            self.graph = graph
