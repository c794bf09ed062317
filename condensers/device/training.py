"""Training networks on labelled images that stay on the device: the way the field evaluates memories.

Source of the constants: DM (Zhao and Bilen, 2023) evaluation: 1000 epochs of SGD, lr 0.01 divided by ten after half
of them with a fresh optimiser, momentum 0.9, weight decay 5e-4, batch 256, DSA on, the last epoch counts.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from condensers.device import augmentation, draws
from condensers.device.ensemble import join, joinable, separate
from condensers.device.images import LabelledImages
from condensers.device.threads import Lanes

# What networks are trained towards: a class for each image, or the probability of each class.
Targets = Int64[Tensor, "n"] | Float[Tensor, "n classes"]


@dataclass(frozen=True)
class Training:
    """How a network is trained on a memory.

    `chunk` images go through at once, in one network or in several joined ones (`together_of`): only rounding changes.
    """

    epochs: int = 1000
    batch: int = 256
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augmentation: str = "color_crop_cutout_flip_scale_rotate"
    chunk: int = 16

    def describe(self) -> dict[str, object]:
        """The training as JSON values: part of a score's config. Without the chunk, which differs between devices."""
        return {name: value for name, value in asdict(self).items() if name != "chunk"}


def train(
    network: nn.Module,
    images: Float[Tensor, "n ch h w"],
    labels: Targets,
    training: Training,
    seed: int,
    progress: Callable[[int], object] = lambda epochs: None,
) -> None:
    """Train `network` in place on normalised `images`; order and augmentation are drawn from `seed`.

    `labels` are classes, or a probability for each class (soft labels). `progress` is called with 1 after every epoch.
    """
    train_all([network], images, labels, training, [seed], progress)


def train_all(
    networks: Sequence[nn.Module],
    images: Float[Tensor, "n ch h w"],
    labels: Targets,
    training: Training,
    seeds: Sequence[int],
    progress: Callable[[int], object] = lambda epochs: None,
) -> None:
    """Train every network in place on the same images, each as `train` would with its own seed, to rounding.

    `progress` is called with the number of networks that have gone through one more epoch.

    Raises:
        ValueError: there is not one seed for each network, or the networks are of different architectures.
    """
    if len(seeds) != len(networks):
        raise ValueError(f"{len(seeds)} seeds for {len(networks)} networks; give each network its own")
    groups = math.ceil(len(networks) / together_of(networks[0], training, len(labels)))
    for first in range(groups):
        _train(networks[first::groups], images, labels, training, seeds[first::groups], progress)


def together_of(network: nn.Module, training: Training, images: int) -> int:
    """How many such networks to train joined on that many images: as many as have their minibatches fit into a chunk.

    One if its layers cannot be joined. Joining pays most for small minibatches of small images, where a single network
    leaves the processor idle; `python -m harness.speed --what train --networks N` measures it.
    """
    return max(1, training.chunk // min(training.batch, images)) if joinable(network) else 1


def predict(network: nn.Module, images: LabelledImages, chunk: int = 16) -> Int64[Tensor, "n"]:
    """The class of the largest logit for every image, in evaluation mode."""
    network.eval()

    @torch.no_grad()
    def classes(part: UInt8[Tensor, "b ch h w"]) -> Int64[Tensor, "b"]:
        return network(_channels_last(images.normalise(part))).argmax(1)

    return torch.cat(Lanes(images.images.device).map(classes, images.images.split(chunk)))


def accuracy(network: nn.Module, images: LabelledImages, chunk: int = 16) -> float:
    """Fraction of the images that `network` classifies correctly."""
    return (predict(network, images, chunk) == images.labels).double().mean().item()


def augmented(images: Float[Tensor, "n ch h w"], strategy: str, key: int) -> Float[Tensor, "n ch h w"]:
    """The minibatch under one operation, with a strength drawn for each image."""
    return augmented_all(images[None], strategy, [key])


def augmented_all(
    images: Float[Tensor, "k n ch h w"], strategy: str, keys: Sequence[int]
) -> Float[Tensor, "n channels h w"]:
    """Every network's minibatch under the draw of its key, as channels side by side; one call for each operation."""
    size, side = images.shape[1], images.shape[-1]
    numbers = draws.uniform(_on(images.device, keys), 3 * size).unflatten(1, (size, 3))
    done: dict[int, Tensor] = {}
    for members in _alike(strategy, keys):
        strengths = torch.cat([numbers[network] for network in members])
        draw = augmentation.draw_one(strategy, draws.host_uniform(keys[members[0]]), strengths, side)
        batch = torch.cat([images[network] for network in members])
        done |= zip(members, augmentation.apply(draw, batch[:, None])[:, 0].split(size), strict=True)
    return _channels_last(torch.cat([done[network] for network in range(len(keys))], dim=1))


def _train(
    networks: Sequence[nn.Module],
    images: Tensor,
    labels: Tensor,
    training: Training,
    seeds: Sequence[int],
    progress: Callable[[int], object],
) -> None:
    """Train the networks side by side, each from its own seed."""
    for network in networks:
        network.train()
    joined, lanes = join(networks), Lanes(images.device)
    optimizer = _optimizer(joined, training, training.lr)
    for epoch in range(training.epochs):
        if epoch == max(1, training.epochs // 2):
            optimizer = _optimizer(joined, training, training.lr / 10)
        for batch, targets in _minibatches(images, labels, training, seeds, epoch):
            _leave_gradients(joined, batch, targets, training.chunk, lanes)
            optimizer.step()
        progress(len(networks))
    separate(joined, networks)


def _minibatches(
    images: Tensor, labels: Tensor, training: Training, seeds: Sequence[int], epoch: int
) -> Iterator[tuple[Float[Tensor, "n channels h w"], Int64[Tensor, "n k"] | Float[Tensor, "n k classes"]]]:
    """An epoch's minibatches of k networks side by side. Each network's seed gives its order and augmentation."""
    keys = _on(labels.device, [draws.key_of(seed, "order", epoch) for seed in seeds])
    orders = draws.uniform(keys, len(labels)).argsort(dim=1, stable=True)  # per key what draws.permutation gives
    for step, chosen in enumerate(orders.split(training.batch, dim=1)):
        named = [draws.key_of(seed, "augment", epoch, step) for seed in seeds]
        yield augmented_all(images[chosen], training.augmentation, named), labels[chosen].transpose(0, 1)


def _alike(strategy: str, keys: Sequence[int]) -> list[list[int]]:
    """Positions of the keys, grouped by the operation that they choose."""
    operations = 1 if strategy == augmentation.STANDARD else len(augmentation.operations(strategy))
    alike: dict[int, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        alike[int(draws.host_uniform(key) * operations)].append(position)
    return list(alike.values())


def _on(device: torch.device, keys: Sequence[int]) -> Int64[Tensor, "k"]:
    """Keys on the device, copied from pinned memory so that the host does not wait for the copy."""
    return torch.tensor(keys, pin_memory=device.type == "cuda").to(device, non_blocking=True)


def _leave_gradients(network: nn.Module, batch: Tensor, labels: Tensor, chunk: int, lanes: Lanes) -> None:
    """Gradients of the batch's mean loss, summed over the k networks, in the parameters' `.grad`; in chunks."""
    networks, parameters = labels.shape[1], list(network.parameters())
    mixes = any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    chunk = len(batch) if mixes else max(1, chunk // networks)

    def back(part: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        logits = network(part[0]).unflatten(1, (networks, -1)).flatten(0, 1)
        loss = F.cross_entropy(logits, part[1].flatten(0, 1), reduction="sum") / len(batch)
        return torch.autograd.grad(loss, parameters)

    parts = lanes.map(back, zip(batch.split(chunk), labels.split(chunk), strict=True))
    for parameter, *gradients in zip(parameters, *parts, strict=True):
        parameter.grad = sum(gradients[1:], gradients[0])


def _optimizer(network: nn.Module, training: Training, lr: float) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), lr=lr, momentum=training.momentum, weight_decay=training.weight_decay)


def _channels_last(images: Tensor) -> Tensor:
    """In the layout in which convolutions and GroupNorm are fastest on a CPU."""
    return images.contiguous(memory_format=torch.channels_last)
