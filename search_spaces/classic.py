"""AlexNet, VGG-11 and ResNet-18 in the small-image forms used for cross-architecture tests.

Source of the shapes: the DM and DSA papers' public networks, which follow kuangliu's CIFAR models. Instance norm
(GroupNorm with one channel a group) by default, batch norm as an option.
"""

from torch import Tensor, nn

from search_spaces.convnet import NO_TAPS, NORMS, ReLU, Taps, shown

POOLS = (nn.MaxPool2d, nn.AvgPool2d)


class Staged(nn.Module):
    """A network made of stages, sequences of layers of which the last one may pool.

    Taps of each stage: `act` is its last activation before pooling, `block` its output.
    """

    TAPS = ("act", "block")

    def __init__(self, stages: list[nn.Module], embedding_size: int, classes: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.embedding_size = embedding_size
        self.classifier = nn.Linear(embedding_size, classes)

    def features(self, x: Tensor, taps: Taps = NO_TAPS) -> Tensor:
        """Embedding before the classifier, `[n, embedding_size]`; `taps` are shown what every stage computes."""
        for stage in self.stages:
            *layers, last = stage
            pools = isinstance(last, POOLS)
            for layer in layers if pools else stage:
                x = layer(x)
            x = shown(taps, "act", x)
            x = shown(taps, "block", last(x) if pools else x)
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Images `[n, c, h, w]` to logits `[n, classes]`."""
        return self.classifier(self.features(x))


def _check_side(name: str, shape: tuple[int, int, int]) -> int:
    if shape[1] % 32 or shape[1] != shape[2]:
        raise ValueError(f"{name} takes square images of a multiple of 32 px, not {shape[1]}x{shape[2]}")
    return shape[1]


def alexnet(classes: int, shape: tuple[int, int, int], norm: str = "NN") -> Staged:
    """AlexNet for small images: five convolutions, three max poolings; it has no norm, whatever is asked for.

    Raises ValueError on images that are not a multiple of 32 px.
    """
    side = _check_side("AlexNet", shape)
    # The original pads 1-channel images by 2 more to reach 32 px; here the caller resizes instead.
    stages = [
        nn.Sequential(nn.Conv2d(shape[0], 128, 5, padding=2), ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(128, 192, 5, padding=2), ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(192, 256, 3, padding=1), ReLU()),
        nn.Sequential(nn.Conv2d(256, 192, 3, padding=1), ReLU()),
        nn.Sequential(nn.Conv2d(192, 192, 3, padding=1), ReLU(), nn.MaxPool2d(2)),
    ]
    return Staged(stages, 192 * (side // 8) ** 2, classes)


def vgg11(classes: int, shape: tuple[int, int, int], norm: str = "IN") -> Staged:
    """VGG-11: eight convolutions in five stages, each ended by a max pooling.

    Raises ValueError on images that are not a multiple of 32 px.
    """
    side, channels, stages = _check_side("VGG11", shape), shape[0], []
    for widths in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), _norm(norm, width), ReLU()]
            channels = width
        stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
    return Staged(stages, 512 * (side // 32) ** 2, classes)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection (He et al., 2016)."""

    def __init__(self, inputs: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False),
            _norm(norm, width),
            ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            _norm(norm, width),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != width:
            self.skip = nn.Sequential(nn.Conv2d(inputs, width, 1, stride=stride, bias=False), _norm(norm, width))
        self.activation = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, width, h / stride, w / stride]`."""
        return self.activation(self.body(x) + self.skip(x))


def resnet18(classes: int, shape: tuple[int, int, int], norm: str = "IN") -> Staged:
    """ResNet-18 for small images: 3x3 stem without pooling, four stages of two blocks, 4x4 average pooling.

    Raises ValueError on images that are not a multiple of 32 px.
    """
    side = _check_side("ResNet18", shape)
    stages: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(shape[0], 64, 3, padding=1, bias=False), _norm(norm, 64), ReLU())
    ]
    inputs = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        stages.append(nn.Sequential(BasicBlock(inputs, width, stride, norm), BasicBlock(width, width, 1, norm)))
        inputs = width
    stages[-1].append(nn.AvgPool2d(4))
    return Staged(stages, 512 * (side // 32) ** 2, classes)


def _norm(norm: str, width: int) -> nn.Module:
    return NORMS[norm](width, 0)
