"""Counter-based random numbers: every draw is a pure function of a named key and a position.

A generator object hands out numbers in the order in which they are asked for, so the draws of one class would depend
on which other classes share its chunk, rank or run. Here number `i` of key `k` is `mix(k + (i + 1) * GOLDEN)`, the
SplitMix64 generator (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014) in int64 tensor
arithmetic: the same bits on CPU and CUDA, for any chunking, without a round trip to the host.
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

_GOLDEN = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_MASK = (1 << 64) - 1


def key_of(seed: int, *names: str | int) -> int:
    """A 64-bit key (as a signed int) for the draws named by `names` under `seed`."""
    text = "/".join(str(name) for name in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def fold(key: int, position: int) -> int:
    """The key of iteration, epoch or class `position` under `key`: one step of the generator, on the host."""
    x = (key + (position + 1) * _GOLDEN) & _MASK
    for shift, factor in _ROUNDS:
        x = ((x ^ (x >> shift)) * factor) & _MASK
    return _signed(x ^ (x >> 31))


def host_uniform(key: int) -> float:
    """A number in [0, 1) for a decision that the host takes, independent of the key's `uniform` numbers."""
    return ((fold(key, -1) & _MASK) >> 11) / 2.0**53


def keys(key: int | Int64[Tensor, "*g 1"], positions: Int64[Tensor, "k"]) -> Int64[Tensor, "*g k"]:
    """`fold` of every position at once under one key or each of several, on the device of `positions`."""
    return _mix(key + (positions + 1) * _signed(_GOLDEN))


def uniform(keys: Int64[Tensor, "k"], n: int) -> Float[Tensor, "k n"]:
    """`n` numbers in [0, 1) for each key, multiples of 2^-24."""
    counters = torch.arange(1, n + 1, device=keys.device) * _signed(_GOLDEN)
    bits = _mix(keys[:, None] + counters)
    return _shift(bits, 40).float() * 2.0**-24


def normal(keys: Int64[Tensor, "k"], n: int) -> Float[Tensor, "k n"]:
    """`n` numbers of a normal distribution for each key (Box and Muller); on another device equal but for rounding."""
    pairs = -(-n // 2)
    first, second = uniform(keys, 2 * pairs).split(pairs, dim=1)
    radius, angle = (-2 * torch.log1p(-first)).sqrt(), second * (2 * math.pi)
    return torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)[:, :n]


def permutation(key: int, n: int, device: torch.device | str) -> Int64[Tensor, "n"]:
    """A random order of 0 .. n-1."""
    single = torch.full((1,), key, device=device)
    return uniform(single, n)[0].argsort(stable=True)


def without_replacement(
    keys: Int64[Tensor, "k"], counts: Int64[Tensor, "k"], most: int, n: int
) -> Int64[Tensor, "k n"]:
    """For each key, `n` different positions below its count; `most` is the largest count, known to the host."""
    beyond = torch.arange(most, device=keys.device) >= counts[:, None]
    # A stable sort, not top-k: 24-bit numbers can be equal, and ties must fall the same way on every device.
    return uniform(keys, most).masked_fill(beyond, 2.0).argsort(dim=1, stable=True)[:, :n]


def draw_network(network: nn.Module, key: int | Int64[Tensor, "1"]) -> None:
    """Give every weight of `network` a fresh value in place, torch's default initialisation, drawn on its device.

    Convolutions and linear layers: weight and bias uniform in +-1/sqrt(fan in). Norms: weight 1, bias 0, running
    statistics reset. Raises TypeError for a layer with weights whose default is not known here.
    """
    drawn: list[tuple[Tensor, float]] = []
    for layer in network.modules():
        drawn += _reset(layer)
    device = next(network.parameters()).device
    single = key if isinstance(key, Tensor) else torch.full((1,), key, device=device)
    values = uniform(single, sum(p.numel() for p, _ in drawn))[0].mul_(2).sub_(1)
    with torch.no_grad():
        for (parameter, bound), part in zip(drawn, values.split([p.numel() for p, _ in drawn]), strict=True):
            parameter.copy_(part.view(parameter.shape)).mul_(bound)


def _reset(layer: nn.Module) -> Sequence[tuple[Tensor, float]]:
    """Reset a norm in place; for a convolution or linear layer return (parameter, bound) pairs to draw."""
    own = dict(layer.named_parameters(recurse=False))
    if isinstance(layer, nn.Conv2d | nn.Linear):
        bound = layer.weight[0].numel() ** -0.5
        return [(parameter, bound) for parameter in own.values()]
    if own:
        if not isinstance(layer, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
            raise TypeError(f"no default initialisation known for {type(layer).__name__}")
        layer.reset_parameters()
    return []


def _mix(x: Tensor) -> Tensor:
    for shift, factor in _ROUNDS:
        x = (x ^ _shift(x, shift)) * _signed(factor)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift: int64's own shift copies the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x
