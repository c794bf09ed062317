"""Calls of the compiled passes of `search_spaces.kernels` on tensors, where device and machine have them."""

import warnings
from functools import cache
from types import ModuleType

from torch import Tensor


def compiles(x: Tensor) -> bool:
    """Whether a compiled pass can take such a tensor: on a CPU, where numba works."""
    return x.device.type == "cpu" and _kernels() is not None


def run(kernel: str, *arguments: object) -> None:
    """Call a function of `search_spaces.kernels`; it reads and fills the tensors' own memory."""
    arrays = (value.detach().numpy() if isinstance(value, Tensor) else value for value in arguments)
    getattr(_kernels(), kernel)(*arrays)


@cache
def _kernels() -> ModuleType | None:
    """The compiled passes; None, with a warning, where they cannot be compiled: torch's layers then do the same."""
    try:
        from search_spaces import kernels

        kernels.check()
    except Exception as error:  # whatever a compiler may raise
        warnings.warn(f"no compiled passes, networks take longer on this CPU: {error}", stacklevel=2)
        return None
    return kernels
