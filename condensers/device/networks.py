"""Networks by name, on the device and in the memory layout that they are trained in."""

import torch
from torch import nn

from condensers.device import draws
from search_spaces.registry import build


def new_network(
    name: str, classes: int, shape: tuple[int, int, int], device: torch.device | str, key: int
) -> nn.Module:
    """The network of that name for images of `shape` (channels, height, width), its weights drawn from `key`.

    Raises:
        ValueError: no such network, or one that does not fit the images.
    """
    network = build(name, classes, shape).to(device=device, memory_format=torch.channels_last)
    draws.draw_network(network, key)
    return network
