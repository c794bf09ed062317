"""Networks by name, such as `ConvNet-W128-D3-IN-ReLU-Avg` or `ResNet18-BN`."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FunctionType

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from search_spaces.classic import alexnet, resnet18, vgg11
from search_spaces.convnet import ACTIVATIONS, NORMS, POOLINGS, ConvNet
from search_spaces.names import unknown
from search_spaces.sources import digest_of

COMMON = ((3, 32, 32), (3, 64, 64), (1, 8, 8), (1, 28, 28))  # channels, height and width

CLASSIC: dict[str, Callable[..., nn.Module]] = {"AlexNet": alexnet, "VGG11": vgg11, "ResNet18": resnet18}
EXAMPLES = {
    "ConvNet-W128-D3-IN-ReLU-Avg": "the field's default: width 128, depth 3, instance norm, average pooling",
    "AlexNet": "five convolutions, no norm",
    "VGG11": "eight convolutions, instance norm",
    "ResNet18": "instance norm",
    "VGG11-BN": "with batch norm",
    "ResNet18-BN": "with batch norm",
}


CONVNET = re.compile(r"ConvNet-W(\d+)-D(\d+)(?:-(\w+))?(?:-(\w+))?(?:-(\w+))?")
LATER = ("IN", "ReLU", "Avg")  # parts of a ConvNet's name that may be left out
PARTS = ("features", "embedding_size", "TAPS", "classifier")
# Networks of plugins, by name: functions of the number of classes and of the shape of the images.
ADDED: dict[str, Callable[[int, tuple[int, int, int]], nn.Module]] = {}
HOMES: dict[str, str | None] = {}  # the plugin that named each of them


def add(networks: Mapping[str, Callable[[int, tuple[int, int, int]], nn.Module]], home: str | None = None) -> None:
    """Register further networks by name: modules with `features(x, taps)`, `embedding_size`, `TAPS` and `classifier`.

    Args:
        networks: what builds each, given the number of classes and the shape of an image.
        home: name of the module that gives them, whose source is then in their identity.

    Raises:
        ValueError: a name that is taken.
        TypeError: something that cannot be called.
    """
    for name, made in networks.items():
        if not callable(made):
            raise TypeError(f"the network {name!r} is {made!r}; give a function of classes and shape")
        if name in ADDED or name.startswith("ConvNet") or name.partition("-")[0] in CLASSIC:
            kept = ", ".join(("ConvNet", *CLASSIC))
            raise ValueError(f"the network {name!r} is there already, or begins like one of {kept}: rename it")
    ADDED.update(networks)
    HOMES.update(dict.fromkeys(networks, home))


def full_name(name: str) -> str:
    """The one spelling of a network's name: a ConvNet's with all five parts, a classic one without `-IN`.

    Other names, those of plugins and of no network, stay as they are: `build` refuses those that it does not know.
    """
    if match := CONVNET.fullmatch(name):
        width, depth, *later = match.groups()
        sizes = (f"W{width.lstrip('0') or 0}", f"D{depth.lstrip('0') or 0}")
        return "-".join(("ConvNet", *sizes, *(part or default for part, default in zip(later, LATER, strict=True))))
    base, _, norm = name.partition("-")
    return base if norm == "IN" and base in CLASSIC and base != "AlexNet" else name


def identity_of(name: str) -> str:
    """The name as keys quote it: that of a plugin's network with a digest of its source."""
    if name not in ADDED:
        return name
    made = ADDED[name]
    # The module of a partial, or of another object's class, does not say what it builds: the plugin that names it does.
    own = isinstance(made, FunctionType | type)
    return f"{name}@{digest_of(made.__module__ if own else HOMES.get(name) or type(made).__module__)}"


def build(name: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The network of that name for images of `shape` (channels, height, width).

    `ConvNet-W{width}-D{depth}-{norm}-{activation}-{pooling}`, its later parts optional, with norm one of NN BN LN IN
    GN, activation one of Sigmoid ReLU LeakyReLU and pooling one of None Max Avg; or a classic name, with `-BN`.
    Every network has `features`, `embedding_size`, `TAPS` and `classifier`.

    Raises:
        ValueError: no such network, or one that does not fit the images.
    """
    if name in ADDED:
        return _whole(name, _built(name, classes, shape))
    if match := CONVNET.fullmatch(full_name(name)):
        width, depth, norm, activation, pooling = match.groups()
        _check("norm", norm, NORMS)
        _check("activation", activation, ACTIVATIONS)
        _check("pooling", pooling, POOLINGS)
        return ConvNet(classes, shape, int(width), int(depth), norm, activation, pooling)
    base, _, norm = name.partition("-")
    if base not in CLASSIC or norm not in ("", "BN", "IN") or (base == "AlexNet" and norm):
        raise unknown("network", name, [*EXAMPLES, *ADDED])
    return CLASSIC[base](classes, shape, norm or "IN")


def _built(name: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    try:
        return ADDED[name](classes, shape)
    except TypeError as error:  # as of a function of other arguments
        raise ValueError(f"the network {name} of a plugin is not built from (classes, shape): {error}") from error


def _whole(name: str, network: nn.Module) -> nn.Module:
    lacking = [part for part in PARTS if not hasattr(network, part)]
    if lacking:
        raise ValueError(f"the network {name} has no {', '.join(lacking)}: every network needs {', '.join(PARTS)}")
    return network


def mixes_samples(name: str) -> bool:
    """Whether the network's norm mixes the images of a batch, so that classes are not independent.

    To find out, a plugin's network is built for images of a common size.

    Raises:
        ValueError: a plugin's network that takes images of no common size.
    """
    if name not in ADDED:
        return "-BN" in name
    return any(isinstance(layer, _BatchNorm) for layer in _sample(name).modules())


def _sample(name: str) -> nn.Module:
    with torch.device("meta"):
        for shape in COMMON:
            with suppress(ValueError, RuntimeError):
                return ADDED[name](10, shape)
    raise ValueError(f"{name} takes no images of {', '.join(f'{side} px' for _, side, _ in COMMON)}")


def default_depth(side: int) -> int:
    """Blocks of a ConvNet at that resolution: 2 below 32 px, 3 at 32, 4 at 64, 5 at 128 (a 4x4 last map)."""
    return max(2, side.bit_length() - 3)


def _check(kind: str, name: str, choices: dict[str, Callable]) -> None:
    if name not in choices:
        raise unknown(kind, name, choices)
