"""Devices and precisions as users name them. torch is imported only in functions, so that `--help` need not load it."""

import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "tf32", "bf16"]
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt


def resolve_device(name: str) -> "torch.device":
    """`auto` is CUDA where there is a device, else the CPU. Raises ValueError for a device that is not there."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r} is not supported: use auto, cpu, cuda or cuda:N")
    if device.type == "cpu" and device.index:
        raise ValueError(f"device {name!r} is not there: a CPU is one device, cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} asked for, but there are {torch.cuda.device_count()} CUDA devices: use cpu")
    return device


def set_precision(precision: Precision, device: "torch.device") -> None:
    """Switch TF32 on or off for convolutions and matrix products.

    bf16 switches it on, too: only the branch of the real images is in bf16, and on CUDA everything else is in TF32.

    Raises ValueError for tf32 on a CPU, which has none.
    """
    import torch

    if precision == "tf32" and device.type != "cuda":
        raise ValueError("precision tf32 exists on CUDA only: use fp32 or bf16")
    # Switched off for fp32, too, because cuDNN uses TF32 by default.
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next activations, because getting it back from the system is slow.

    It helps most where many maps are allocated, as in the plain loops and with several recipes in lockstep
    (`python -m harness.speed --what condense` times the plain loop with and without it). Other C libraries are left as
    they are. Commands call this and the library does not, because it changes the whole process.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def name_of(device: "torch.device") -> str:
    """The device as it stands in records, e.g. `cpu` or `cuda NVIDIA H200`."""
    import torch

    return "cpu" if device.type == "cpu" else f"cuda {torch.cuda.get_device_name(device)}"
