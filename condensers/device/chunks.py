"""How many images go through a network at once: what a device is fast with, and what fits into its free memory."""

import torch

from search_spaces.forward import forward_pass

CPU_PIXELS = 2**14  # 16 images of 32 px
CUDA_PIXELS = 2**21  # 2048 images of 32 px: enough tiles of work for a large GPU, by count; not measured
SHARE = 4  # memory of an image, as a multiple of its activations: values, gradients, workspace of layers, headroom


def chunk_of(device: torch.device | str, network: str, classes: int, shape: tuple[int, int, int]) -> int:
    """Images of `shape` (channels, height, width) to put through the network of that name at once, a power of two.

    On a CPU that is 16 images of 32 px. Larger chunks train a narrow network slightly faster, but slow down several
    recipes in lockstep, whose maps then no longer fit into the cache together. To compare chunks on a machine:
    `python -m harness.speed --what train lockstep --chunk N`.

    Raises:
        ValueError: no such network, or one that does not fit the images.
    """
    pixels = shape[1] * shape[2]
    device = torch.device(device)
    if device.type == "cpu":
        return _power_of_two(CPU_PIXELS // pixels)
    free, _ = torch.cuda.mem_get_info(device)
    return _power_of_two(min(CUDA_PIXELS // pixels, within(free, network, classes, shape)))


def within(free: int, network: str, classes: int, shape: tuple[int, int, int]) -> int:
    """How many images' forward and backward pass fits into `free` bytes."""
    return free // (SHARE * forward_pass(network, classes, shape).activation_bytes)


def _power_of_two(most: int) -> int:
    return 1 << (max(1, most).bit_length() - 1)
