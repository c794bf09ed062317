"""Style drift: training on a memory whose first feature map is given, by a ratio, another memory's style.

    sigma = (1 - g) sigma_i + g sigma_t,  mu = (1 - g) mu_i + g mu_t,  F = sqrt(sigma) (F_i - mu_i) / sqrt(sigma_i) + mu

with the mean mu_i and variance sigma_i of each map of an image behind the network's first block, and g the ratio (DDM,
Eq. 12-14). Departure: the paper leaves open which image of the other memory gives mu_t and sigma_t; here they are the
means over all of its images, in a forward pass of the same network. Moving every image to the *own* memory's mean
style is the control: it takes away the differences between images, but moves nothing on average.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.convnet import ConvNet

RATIOS = (0.0, 0.25, 0.5, 0.75, 1.0)
TINY = 1e-5  # under the root, as in instance norm


class Drifting(nn.Module):
    """A ConvNet that trains with moved styles; its weights are those of `network`.

    Args:
        network: the ConvNet that is trained.
        target: images that give the style, `[n, ch, h, w]`.
        ratio: how far styles are moved, 0 to 1.

    Raises:
        ValueError: the network is no ConvNet, the only kind whose first block is known.
    """

    def __init__(self, network: nn.Module, target: Float[Tensor, "n ch h w"], ratio: float) -> None:
        super().__init__()
        if not isinstance(network, ConvNet):
            raise ValueError("style drifts in a ConvNet only: leave out --drift-from, or name one as --network")
        self.network, self.ratio = network, ratio
        self.target = target.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Float[Tensor, "n ch h w"]) -> Float[Tensor, "n classes"]:
        """Images to logits."""
        first, *others = self.network.blocks
        with torch.no_grad():
            variance, mean = (one.mean(0) for one in _moments(first(self.target)))
        x = moved(first(x), mean, variance, self.ratio)
        for block in others:
            x = block(x)
        return self.network.classifier(x.flatten(1))


def moved(x: Float[Tensor, "n ch h w"], mean: Tensor, variance: Tensor, ratio: float) -> Float[Tensor, "n ch h w"]:
    """Feature maps whose mean and variance are moved towards `mean` and `variance`, `[ch, 1, 1]`, by the ratio."""
    own_variance, own_mean = _moments(x)
    wanted = torch.lerp(own_variance, variance.expand_as(own_variance), ratio)
    scaled = (x - own_mean) * ((wanted + TINY) / (own_variance + TINY)).sqrt()
    return scaled + torch.lerp(own_mean, mean.expand_as(own_mean), ratio)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.var_mean(x, (2, 3), correction=0, keepdim=True)
