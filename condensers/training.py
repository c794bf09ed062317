"""Training networks on labelled images that stay on the device: section by section the field's evaluation recipe.

Source of the constants: DM (Zhao and Bilen, 2023) evaluation: 1000 epochs of SGD, lr 0.01 divided by ten after half
of them with a fresh optimiser, momentum 0.9, weight decay 5e-4, batch 256, DSA on, the last epoch counts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers import augmentation, draws
from condensers.images import LabelledImages


@dataclass(frozen=True)
class Training:
    """How a network is trained on a memory; `chunk` images go through it at once, which changes only rounding."""

    epochs: int = 1000
    batch: int = 256
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augmentation: str = "color_crop_cutout_flip_scale_rotate"
    chunk: int = 16


def chunk_of(device: torch.device | str, shape: tuple[int, int, int]) -> int:
    """Images of `shape` to put through a network at once: what fits the caches of a CPU, what fills a GPU.

    On a CPU 16 images of 32 px trained 1.8 times as fast as 64 (ConvNet-W32-D3, one thread, measured together).
    """
    pixels = 2**14 if torch.device(device).type == "cpu" else 2**23
    return max(1, pixels // (shape[1] * shape[2]))


def train(
    network: nn.Module,
    images: Float[Tensor, "n ch h w"],
    labels: Int64[Tensor, "n"],
    training: Training,
    seed: int,
    progress: Callable[[int], object] = lambda epochs: None,
) -> None:
    """Train `network` in place on normalised `images`; order and augmentation are drawn from `seed`.

    `progress` is called with 1 after every epoch.
    """
    network.train()
    optimizer = _optimizer(network, training, training.lr)
    for epoch in range(training.epochs):
        if epoch == max(1, training.epochs // 2):
            optimizer = _optimizer(network, training, training.lr / 10)
        order = draws.permutation(draws.key_of(seed, "order", epoch), len(labels), labels.device)
        for step, chosen in enumerate(order.split(training.batch)):
            key = draws.key_of(seed, "augment", epoch, step)
            batch = augmented(images[chosen], training.augmentation, key)
            optimizer.zero_grad(set_to_none=True)
            _accumulate(network, batch, labels[chosen], training.chunk)
            optimizer.step()
        progress(1)


@torch.no_grad()
def predict(network: nn.Module, images: LabelledImages, chunk: int = 16) -> Int64[Tensor, "n"]:
    """The class of the largest logit for every image, in evaluation mode."""
    network.eval()
    parts = (network(_channels_last(images.normalise(part))).argmax(1) for part in images.images.split(chunk))
    return torch.cat(list(parts))


def accuracy(network: nn.Module, images: LabelledImages, chunk: int = 16) -> float:
    """Fraction of the images that `network` puts into their class."""
    return (predict(network, images, chunk) == images.labels).double().mean().item()


def augmented(images: Float[Tensor, "n ch h w"], strategy: str, key: int) -> Float[Tensor, "n ch h w"]:
    """One operation for the minibatch, its strength drawn for each image."""
    single = torch.full((1,), key, device=images.device)
    numbers = draws.uniform(single, 3 * len(images)).view(-1, 3)
    draw = augmentation.draw_one(strategy, draws.host_uniform(key), numbers, images.shape[-1])
    return _channels_last(augmentation.apply(draw, images[:, None])[:, 0])


def _accumulate(network: nn.Module, batch: Tensor, labels: Tensor, chunk: int) -> None:
    """Gradient of the batch's mean loss, in chunks."""
    mixes = any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    chunk = len(batch) if mixes else chunk
    for images, targets in zip(batch.split(chunk), labels.split(chunk), strict=True):
        (F.cross_entropy(network(images), targets, reduction="sum") / len(batch)).backward()


def _optimizer(network: nn.Module, training: Training, lr: float) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), lr=lr, momentum=training.momentum, weight_decay=training.weight_decay)


def _channels_last(images: Tensor) -> Tensor:
    """GroupNorm and convolutions run up to 1.6 times faster in this layout (measured on CPU)."""
    return images.contiguous(memory_format=torch.channels_last)
