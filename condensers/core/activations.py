"""The statistics that terms want of a network's activations, computed in one forward pass."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from condensers.core.identity import identity
from condensers.core.terms import EMBEDDING, LOGITS, Context, Reads, Statistic
from search_spaces.convnet import Taps

Found = dict[Reads, list[Tensor]]  # what terms read, one tensor per layer


def read(network: nn.Module, images: Float[Tensor, "C b ch h w"], wanted: Sequence[Reads], context: Context) -> Found:
    """The wanted statistics of all images, from one forward pass."""
    found: Found = {reads: [] for reads in wanted}

    def reduce(name: str, activation: Tensor) -> None:
        by_class = activation.float().unflatten(0, images.shape[:2])
        for tap, statistic in wanted:
            if tap == name:
                found[tap, statistic].append(_statistic(statistic, by_class, context))

    taps: Taps = {tap: partial(reduce, tap) for tap, _ in wanted}
    dtype = next(network.parameters()).dtype
    embedding = network.features(images.flatten(0, 1).to(dtype, memory_format=torch.channels_last), taps)
    if LOGITS in taps:
        reduce(LOGITS, network.classifier(embedding))
    reduce(EMBEDDING, embedding)
    return found


def in_order(wanted: set[Reads]) -> list[Reads]:
    """Sorted by tap and name: the order of a set differs between processes, and would change how gradients round."""
    return sorted(wanted, key=lambda reads: (reads[0], str(identity(reads[1]))))


def merge(parts: Sequence[Found], images: Sequence[int]) -> Found:
    """Statistics of all images of each class, from the statistics of parts that hold `images[i]` images of it."""
    if len(parts) == 1:
        return parts[0]
    total = sum(images)
    merged: Found = {}
    for reads in parts[0]:
        layers = zip(*(part[reads] for part in parts), strict=True)
        if is_per_image(reads[1]):
            merged[reads] = [torch.cat(layer, dim=1) for layer in layers]
        else:
            merged[reads] = [sum(x * (n / total) for x, n in zip(layer, images, strict=True)) for layer in layers]
    return merged


def concatenate(parts: Sequence[Found]) -> Found:
    """Statistics of all classes, from those of chunks of classes."""
    return {
        reads: [torch.cat(layer) for layer in zip(*(part[reads] for part in parts), strict=True)] for reads in parts[0]
    }


def of_classes(found: Mapping[tuple, Sequence[Tensor]], part: slice) -> dict[tuple, list[Tensor]]:
    """The statistics of some of the classes."""
    return {reads: [layer[part] for layer in layers] for reads, layers in found.items()}


def is_per_image(statistic: Statistic) -> bool:
    """Whether a statistic keeps every image instead of averaging over them."""
    return getattr(statistic, "per_image", False)


def _statistic(statistic: Statistic, by_class: Tensor, context: Context) -> Tensor:
    """Its values. Raises ValueError if their first axis is not that of the classes, as of a plugin's mistake."""
    found = statistic(by_class, context) if getattr(statistic, "contextual", False) else statistic(by_class)
    if not isinstance(found, Tensor) or found.shape[:1] != by_class.shape[:1]:
        made = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"the statistic {identity(statistic)} makes {made} of activations {list(by_class.shape)}: give a tensor "
            "whose first axis is that of the classes"
        )
    return found
