"""What one image costs a network, counted without running it."""

from functools import cache
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.registry import build


class Cost(NamedTuple):
    """Of one image's forward pass: floating-point operations, and bytes of all layers' outputs in float32."""

    flops: int
    activation_bytes: int


@cache
def cost(network: str, classes: int, shape: tuple[int, int, int]) -> Cost:
    """The cost of the network of that name on images of `shape` (channels, height, width).

    Raises:
        ValueError: no such network, or one that does not fit the images.
    """
    sizes: list[int] = []
    with torch.device("meta"):
        layers, image = build(network, classes, shape), torch.empty(1, *shape)
    for layer in layers.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda _, __, output: sizes.append(output.nbytes))
    with FlopCounterMode(display=False) as counter:
        layers(image)
    return Cost(counter.get_total_flops(), sum(sizes))
