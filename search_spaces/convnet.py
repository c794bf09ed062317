"""The ConvNet of dataset condensation: D x [conv 3x3, norm, activation, pool 2x2], then one linear layer.

Source: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (2021), whose search space of 720
ConvNets varies width, depth, norm, activation and pooling; default W128-D3, instance norm, ReLU, average pooling.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.norms import InstanceNorm

# Called with the name of every activation and the activation itself, which may be overwritten afterwards unless
# gradients are wanted: a tap reduces it, or copies it, at once.
Tap = Callable[[str, Tensor], object]


class ReLU(nn.Module):
    """Rectifier, leaky if `slope` is not 0; in place where no gradient is wanted, a third of its time on a CPU."""

    def __init__(self, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """`x` with its negative values multiplied by the slope."""
        in_place = not torch.is_grad_enabled()
        return F.leaky_relu(x, self.slope, in_place) if self.slope else F.relu(x, in_place)


NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "NN": lambda channels, side: nn.Identity(),
    "BN": lambda channels, side: nn.BatchNorm2d(channels),
    "LN": lambda channels, side: nn.LayerNorm([channels, side, side]),
    "IN": lambda channels, side: InstanceNorm(channels),
    "GN": lambda channels, side: nn.GroupNorm(4, channels),
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "Sigmoid": nn.Sigmoid,
    "ReLU": ReLU,
    "LeakyReLU": lambda: ReLU(0.01),
}
POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "None": nn.Identity,
    "Max": lambda: nn.MaxPool2d(2),
    "Avg": lambda: nn.AvgPool2d(2),
}


class ConvBlock(nn.Module):
    """conv 3x3 (with bias), norm, activation, pool; any of the four outputs can be tapped."""

    def __init__(self, inputs: int, width: int, side: int, norm: str, activation: str, pooling: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, kernel_size=3, padding=1)
        self.norm = NORMS[norm](width, side)
        self.activation = ACTIVATIONS[activation]()
        self.pool = POOLINGS[pooling]()

    def forward(self, x: Tensor, tap: Tap = lambda name, activation: None) -> Tensor:
        """`[n, c, h, w]` to the block's output; `tap` is shown the output of each of the four layers."""
        for name, layer in zip(ConvNet.TAPS, (self.conv, self.norm, self.activation, self.pool), strict=True):
            x = layer(x)
            tap(name, x)
        return x


class ConvNet(nn.Module):
    """A ConvNet for square images; `features` is what condensers match, `forward` gives the logits.

    Args:
        classes: number of logits.
        shape: channels, height, width of an image.
        width: channels of every block.
        depth: number of blocks.
        norm: a key of NORMS.
        activation: a key of ACTIVATIONS.
        pooling: a key of POOLINGS.

    Raises:
        ValueError: no width or depth, or an image too small for so many poolings.
    """

    TAPS = ("conv", "norm", "act", "block")

    def __init__(
        self,
        classes: int,
        shape: tuple[int, int, int],
        width: int = 128,
        depth: int = 3,
        norm: str = "IN",
        activation: str = "ReLU",
        pooling: str = "Avg",
    ) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise ValueError(f"a ConvNet of width {width} and depth {depth} is none; give at least 1")
        channels, side, _ = shape
        blocks = []
        for _ in range(depth):
            if side < 2 and pooling != "None":
                raise ValueError(f"a ConvNet of depth {depth} pools a {shape[1]} px image away; use less depth")
            blocks.append(ConvBlock(channels, width, side, norm, activation, pooling))
            channels, side = width, side if pooling == "None" else side // 2
        self.blocks = nn.ModuleList(blocks)
        self.embedding_size = width * side * side
        self.classifier = nn.Linear(self.embedding_size, classes)

    def features(self, x: Tensor, tap: Tap = lambda name, activation: None) -> Tensor:
        """Embedding before the classifier, `[n, width * side * side]`; `tap` is shown what every block computes."""
        for block in self.blocks:
            x = block(x, tap)
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Images `[n, c, h, w]` to logits `[n, classes]`."""
        return self.classifier(self.features(x))
