"""The ConvNet of dataset condensation: D x [conv 3x3, norm, activation, pool 2x2], then one linear layer.

Source: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (2021), whose search space of 720
ConvNets varies width, depth, norm, activation and pooling; default W128-D3, instance norm, ReLU, average pooling.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.compiled import compiles
from search_spaces.norms import InstanceNorm

# For the name of an activation, the function that is called with it. Without gradients the next layer may overwrite the
# activation, so a tap must reduce or copy it at once.
Taps = Mapping[str, Callable[[Tensor], object]]
NO_TAPS: Taps = {}


class ReLU(nn.Module):
    """Rectifier, leaky if `slope` is not 0; in place where no gradient is wanted, which is faster on a CPU."""

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


WIDEST, DEEPEST = 2048, 16  # beyond, a mistyped name would ask for more memory than any machine has


class ConvBlock(nn.Module):
    """conv 3x3 (with bias), norm, activation, pool; any of the four outputs can be tapped."""

    def __init__(self, inputs: int, width: int, side: int, norm: str, activation: str, pooling: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, kernel_size=3, padding=1)
        self.norm = NORMS[norm](width, side)
        self.activation = ACTIVATIONS[activation]()
        self.pool = POOLINGS[pooling]()
        self._fuses = norm == "IN" and isinstance(self.activation, ReLU) and (pooling != "Avg" or side % 2 == 0)

    def forward(self, x: Tensor, taps: Taps = NO_TAPS) -> Tensor:
        """`[n, c, h, w]` to the block's output; `taps` are shown the outputs of the layers they name."""
        x = shown(taps, "conv", self.conv(x))
        if self._fuses and compiles(x) and "norm" not in taps:
            return self._fused(x, taps)
        for name, layer in (("norm", self.norm), ("act", self.activation), ("block", self.pool)):
            x = shown(taps, name, layer(x))
        return x

    def _fused(self, x: Tensor, taps: Taps) -> Tensor:
        """The three layers after the convolution in one pass, or the first two if the pooling is not by averages."""
        average = isinstance(self.pool, nn.AvgPool2d)
        keep = "act" in taps or not average
        activation, pooled = self.norm.rectified(x, self.activation.slope, keep, average)
        if keep:
            shown(taps, "act", activation)
        return shown(taps, "block", pooled if average else self.pool(activation))


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
        ValueError: no width or depth, images that are not square, or too small for so many poolings.
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
        if not (1 <= width <= WIDEST and 1 <= depth <= DEEPEST):
            asked = f"a ConvNet of width {width} and depth {depth}"
            raise ValueError(f"{asked} cannot be built; give at least 1 of both, at most {WIDEST} and {DEEPEST}")
        channels, side, other = shape
        if side != other:
            raise ValueError(f"a ConvNet takes square images, not {side}x{other}")
        blocks = []
        for _ in range(depth):
            if side < 2 and pooling != "None":
                raise ValueError(f"a ConvNet of depth {depth} pools a {shape[1]} px image away; use less depth")
            blocks.append(ConvBlock(channels, width, side, norm, activation, pooling))
            channels, side = width, side if pooling == "None" else side // 2
        self.blocks = nn.ModuleList(blocks)
        self.embedding_size = width * side * side
        self.classifier = nn.Linear(self.embedding_size, classes)

    def features(self, x: Tensor, taps: Taps = NO_TAPS) -> Tensor:
        """Embedding before the classifier, `[n, width * side * side]`; `taps` are shown what every block computes."""
        for block in self.blocks:
            x = block(x, taps)
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Images `[n, c, h, w]` to logits `[n, classes]`."""
        return self.classifier(self.features(x))


def shown(taps: Taps, name: str, activation: Tensor) -> Tensor:
    """Show the activation to the tap of that name, if there is one, and return it."""
    if name in taps:
        taps[name](activation)
    return activation
