"""Several networks of one architecture joined into one, whose channels are those of all, in order.

Convolutions become grouped convolutions, a group for each network. Norms over single channels or groups of channels,
batch norm with its running statistics among them, need no change, because they never mix two networks. Linear layers
become one batched product. No value of one network reaches another, so each learns what it learns alone, to rounding,
in a fraction of the calls. (`vmap` over the networks' gradients was tried as well; on a CPU it was slower than training
the networks one after another.)
"""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.norms import InstanceNorm

# Attributes that count channels or groups of channels: joining k networks multiplies them by k.
_WIDTHS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("in_channels", "out_channels", "groups"),
    nn.GroupNorm: ("num_channels", "num_groups"),
    InstanceNorm: ("num_channels", "num_groups"),
    nn.BatchNorm2d: ("num_features",),
    nn.Linear: (),
}
_PACKAGES = ("torch", "search_spaces")  # packages whose modules mix channels in their layers only


class Linears(nn.Module):
    """The linear layers of `networks` networks; their weights and biases are stacked along the outputs."""

    def __init__(self, networks: int) -> None:
        super().__init__()
        self.networks = networks

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        """Features of all networks, `[n, networks * d]`, to outputs of all networks."""
        weight, bias = (part.unflatten(0, (self.networks, -1)) for part in (self.weight, self.bias))
        features = x.unflatten(1, (self.networks, -1)).transpose(0, 1)
        return torch.baddbmm(bias[:, None], features, weight.transpose(1, 2)).transpose(0, 1).flatten(1)


def joinable(network: nn.Module) -> bool:
    """Whether every layer of the network is known to keep the channels of joined networks separate.

    LayerNorm does not: it normalises over all channels. A user's own network counts as unknown: how it concatenates,
    shuffles or normalises channels cannot be seen from outside.
    """
    ours = all(type(part).__module__.partition(".")[0] in _PACKAGES for part in network.modules())
    return ours and all(type(layer) in _WIDTHS for layer in _layers(network).values())


def join(networks: Sequence[nn.Module]) -> nn.Module:
    """All networks as one, from `[n, networks * channels, h, w]` to `[n, networks * classes]`.

    Its weights are copies; a single network is returned itself.

    Raises:
        ValueError: the networks differ in more than their weights, or are not `joinable`.
    """
    if len(networks) == 1:
        return networks[0]
    if len({repr(network) for network in networks}) != 1:
        raise ValueError("networks of different architectures cannot be joined; train them one after another")
    if not joinable(networks[0]):
        raise ValueError("a network with such layers cannot be joined with others; train them one after another")
    joined = copy.deepcopy(networks[0])
    for name in _layers(joined):
        joined.set_submodule(name, _side_by_side([network.get_submodule(name) for network in networks]))
    return joined.to(memory_format=torch.channels_last)


def separate(joined: nn.Module, networks: Sequence[nn.Module]) -> None:
    """Copy the weights and statistics in `joined` back to each of `networks`."""
    states = [network.state_dict() for network in networks]
    for name, tensor in joined.state_dict().items():
        # Batch norm's count of batches has no channels, and is the same for all networks.
        parts = tensor.chunk(len(networks)) if tensor.dim() else [tensor] * len(networks)
        for state, part in zip(states, parts, strict=True):
            state[name].copy_(part)


def _layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that hold weights or statistics themselves."""
    return {name: layer for name, layer in network.named_modules() if layer._parameters or layer._buffers}


def _side_by_side(layers: Sequence[nn.Module]) -> nn.Module:
    first = layers[0]
    wide = Linears(len(layers)) if isinstance(first, nn.Linear) else copy.deepcopy(first)
    for width in _WIDTHS[type(first)]:
        setattr(wide, width, len(layers) * getattr(first, width))
    for name, _ in first.named_parameters(recurse=False):
        setattr(wide, name, nn.Parameter(torch.cat([getattr(layer, name).detach() for layer in layers])))
    for name, statistic in first.named_buffers(recurse=False):
        if statistic.dim():
            setattr(wide, name, torch.cat([getattr(layer, name) for layer in layers]))
    return wide
