"""What a network does for one image in a forward pass, counted without running it."""

from functools import cache
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.registry import build


class ForwardPass(NamedTuple):
    """The cost of one image: floating-point operations, and bytes of all layers' outputs in float32."""

    flops: int
    activation_bytes: int


@cache
def forward_pass(network: str, classes: int, shape: tuple[int, int, int]) -> ForwardPass:
    """One image's forward pass through the network of that name, for images of `shape` (channels, height, width).

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
    return ForwardPass(counter.get_total_flops(), sum(sizes))


@cache
def depth(network: str, classes: int, shape: tuple[int, int, int]) -> int:
    """Blocks of the network of that name whose output can be tapped, for images of `shape`.

    Raises:
        ValueError: no such network, or one that does not fit the images.
    """
    blocks: list[torch.Tensor] = []
    with torch.device("meta"):
        build(network, classes, shape).features(torch.empty(1, *shape), {"block": blocks.append})
    return len(blocks)
