"""Networks by name, such as `ConvNet-W128-D3-IN-ReLU-Avg` or `ResNet18-BN`."""

import re
from collections.abc import Callable

from torch import nn

from search_spaces.classic import alexnet, resnet18, vgg11
from search_spaces.convnet import ACTIVATIONS, NORMS, POOLINGS, ConvNet
from search_spaces.names import unknown

CLASSIC: dict[str, Callable[..., nn.Module]] = {"AlexNet": alexnet, "VGG11": vgg11, "ResNet18": resnet18}
EXAMPLES = {
    "ConvNet-W128-D3-IN-ReLU-Avg": "the field's default: width 128, depth 3, instance norm, average pooling",
    "AlexNet": "five convolutions, no norm",
    "VGG11": "eight convolutions, instance norm",
    "ResNet18": "instance norm",
    "VGG11-BN": "with batch norm",
    "ResNet18-BN": "with batch norm",
}


def build(name: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The network of that name for images of `shape` (channels, height, width).

    `ConvNet-W{width}-D{depth}-{norm}-{activation}-{pooling}`, its later parts optional, with norm one of NN BN LN IN
    GN, activation one of Sigmoid ReLU LeakyReLU and pooling one of None Max Avg; or a classic name, with `-BN`.
    Every network has `features`, `embedding_size`, `TAPS` and `classifier`.

    Raises:
        ValueError: no such network, or one that does not fit the images.
    """
    match = re.fullmatch(r"ConvNet-W(\d+)-D(\d+)(?:-(\w+))?(?:-(\w+))?(?:-(\w+))?", name)
    if match:
        width, depth, *parts = match.groups()
        norm, activation, pooling = (
            part or default for part, default in zip(parts, ("IN", "ReLU", "Avg"), strict=True)
        )
        _check("norm", norm, NORMS)
        _check("activation", activation, ACTIVATIONS)
        _check("pooling", pooling, POOLINGS)
        return ConvNet(classes, shape, int(width), int(depth), norm, activation, pooling)
    base, _, norm = name.partition("-")
    if base not in CLASSIC or norm not in ("", "BN", "IN") or (base == "AlexNet" and norm):
        raise unknown("network", name, EXAMPLES)
    return CLASSIC[base](classes, shape, norm or "IN")


def mixes_samples(name: str) -> bool:
    """Whether the network's norm mixes the images of a batch, so that classes are not independent."""
    return "-BN" in name


def default_depth(side: int) -> int:
    """Blocks of a ConvNet at that resolution: 2 below 32 px, 3 at 32, 4 at 64, 5 at 128 (a 4x4 last map)."""
    return max(2, side.bit_length() - 3)


def _check(kind: str, name: str, choices: dict[str, Callable]) -> None:
    if name not in choices:
        raise unknown(kind, name, choices)
