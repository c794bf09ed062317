"""A device that is not the host, on any machine: its tensors say `meta`, hold values, and compute on the CPU.

As on a GPU, they cannot be mixed with tensors of the host, and what the host wants to know of them it has to wait for.
A `Watch` counts both what is computed there and what is waited for, so that a test sees on a CPU what a GPU would do.
(Torch lets nobody say `cuda` where there is none: its backward pass asks the driver.)
"""

import traceback
from pathlib import Path
from typing import Self

import torch
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
ROOT = Path(__file__).parents[3]
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Elsewhere(torch.Tensor):
    """A tensor of that device; `held` are its values."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Self:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, held.shape, **layout, device=DEVICE)

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return Watch.current._run(func, args, kwargs or {})


class Watch(TorchDispatchMode):
    """`with Watch() as watch:` makes the device usable; nothing is noted before the `with` or after `clear`.

    Attributes:
        waits: operations for which the host waits until the device has got there, with the line that asked.
        calls: operations that compute something on the device: on a GPU a kernel or more each.
    """

    current: "Watch"

    def __init__(self) -> None:
        super().__init__()
        self.clear()
        self._construction = _Construction()

    def clear(self) -> None:
        """Forget what was noted."""
        self.waits: list[str] = []
        self.calls = 0

    def __enter__(self) -> Self:
        Watch.current = self
        # Otherwise a module's `to` would swap a parameter's metadata, but not the values held.
        torch.__future__.set_swap_module_params_on_conversion(True)
        self._construction.__enter__()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._construction.__exit__(*error)
        torch.__future__.set_swap_module_params_on_conversion(False)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self._run(func, args, kwargs or {})

    def _run(self, func: OpOverload, args: tuple, kwargs: dict) -> object:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        ours = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
        goes = torch.device(kwargs["device"]) == DEVICE if kwargs.get("device") else bool(ours)
        if ours or goes:
            self._note(func, args, tensors, goes, bool(kwargs.get("non_blocking")))
        inner = tree_map(lambda x: x.held if isinstance(x, Elsewhere) else x, (args, kwargs))
        if kwargs.get("device"):
            inner[1]["device"] = "cpu"
        result = func(*inner[0], **inner[1])
        known = {id(tensor.held): tensor for tensor in ours}  # what is changed in place stays the same tensor

        def outer(x: object) -> object:
            if not (goes and isinstance(x, torch.Tensor)):
                return x
            return known[id(x)] if id(x) in known else Elsewhere(x)

        return tree_map(outer, result)

    def _note(self, func: OpOverload, args: tuple, tensors: list, goes: bool, non_blocking: bool) -> None:
        here = [tensor for tensor in tensors if not isinstance(tensor, Elsewhere) and tensor.dim()]
        crosses = len(here) not in (0, len(tensors)) or len(here) == len(tensors) > 0
        if func in COPIES:
            waits = (crosses or not goes) and not (goes and non_blocking)
        elif here:
            raise RuntimeError(f"{func}: tensors of {[tuple(x.shape) for x in here]} are on the host, others elsewhere")
        else:
            waits = _depends_on_values(func, args)
        self.calls += not func.is_view
        if waits:
            self.waits.append(f"{func} at {_line()}")


class _Construction(TorchFunctionMode):
    """Tensors of Python's values, which torch makes on the device itself, are made here and copied there."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") and kwargs["device"] == DEVICE:
            return func(*args, **kwargs | {"device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


def values(tensor: torch.Tensor) -> torch.Tensor:
    """What a tensor of the device holds, for comparisons; no trip that would be counted."""
    return tensor.detach().held


def _depends_on_values(func: OpOverload, args: tuple) -> bool:
    """Whether the host must know the result before it can go on."""
    if func is torch.ops.aten.index.Tensor:
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return bool({torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output} & set(func.tags))


def _line() -> str:
    """The line of ours that asked."""
    own = (frame for frame in traceback.extract_stack() if ROOT / "tests" not in Path(frame.filename).parents)
    frames = [frame for frame in own if ROOT in Path(frame.filename).parents]
    return f"{Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].lineno}" if frames else "a test"
