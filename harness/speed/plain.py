"""The plain loops that the core is measured against: the structure of the field's published code, in our own words.

Condensing: a Python loop over classes; one Siamese augmentation a class, the same for its real and its synthetic
images; lists of positions on the host, all images on the device as floats; a new network from its constructor every
iteration; one number read back an iteration. Training: a DataLoader over the memory. Both in channels-first layout,
layer by layer.

In float64 they are also the oracle that tests compare the core with. The terms of the loss are in `objectives`.

Within that structure nothing is slower than it need be: a class's strengths are drawn once, where the published
augmentation draws one for each of 256 images and uses the first, and real images leave no graph behind.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from condensers.core.recipe import SGD
from condensers.device.images import LabelledImages
from condensers.device.training import Training
from harness.speed.objectives import OBJECTIVES, Activations, Objective

Draw = tuple[str, Float[Tensor, "k 3"]]  # an operation, and strengths in [0, 1) for each image or one for all
Class = tuple[Tensor, Tensor, Draw]  # real images, synthetic images, how both are augmented


class ConvNet(nn.Module):
    """The field's ConvNet from torch's own layers: convolution, instance norm as GroupNorm, ReLU, average pooling."""

    def __init__(self, classes: int, shape: tuple[int, int, int], width: int, depth: int) -> None:
        super().__init__()
        channels, side, _ = shape
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            layers = (nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(width, width), nn.ReLU(inplace=True))
            self.blocks.append(nn.Sequential(*layers))
            channels, side = width, side // 2
        self.pool = nn.AvgPool2d(2)
        self.classifier = nn.Linear(width * side * side, classes)

    def activations(self, x: Float[Tensor, "n ch h w"], maps: bool = False) -> Activations:
        """The embedding before the classifier and, where `maps` are wanted, the ReLU outputs of every block."""
        act = []
        for block in self.blocks:
            x = block(x)
            if maps:
                act.append(x)
            x = self.pool(x)
        return Activations(x.flatten(1), act)

    def forward(self, x: Float[Tensor, "n ch h w"]) -> Float[Tensor, "n classes"]:
        """Images to logits."""
        return self.classifier(self.activations(x).embedding)


def network_of(name: str, classes: int, shape: tuple[int, int, int]) -> ConvNet:
    """A new network, drawn by its constructor. Raises ValueError for a name that is not such a ConvNet."""
    match = re.fullmatch(r"ConvNet-W(\d+)-D(\d+)(-IN)?(-ReLU)?(-Avg)?", name)
    if not match:
        raise ValueError(f"the plain loops have no network {name!r}: give a ConvNet-W{{width}}-D{{depth}}-IN-ReLU-Avg")
    return ConvNet(classes, shape, int(match[1]), int(match[2]))


# Condensing.


def iteration_loss(network: ConvNet, objective: Objective, classes: Iterable[Class]) -> Float[Tensor, ""]:
    """The loss of one iteration: the objective summed over classes, one after the other."""
    loss = torch.zeros((), device=network.classifier.weight.device)
    for real, synthetic, draw in classes:
        loss = loss + _class_loss(network, objective, augmented(real, draw), augmented(synthetic, draw))
    return loss


def _class_loss(network: ConvNet, objective: Objective, real: Tensor, synthetic: Tensor) -> Float[Tensor, ""]:
    with torch.no_grad():
        target = network.activations(real, objective.maps)
    return objective(target, network.activations(synthetic, objective.maps))


class Condensing:
    """The published loop around `iteration_loss`; `step` is one iteration.

    Args:
        source: the training set, on the device that does the work.
        ipc: synthetic images per class.
        method: a key of OBJECTIVES.
        network: name of the random networks.
        real_batch: real images per class and iteration, or all that the class has.
        strategy: DSA operations.
        seed: of everything that is drawn on the host.
    """

    def __init__(
        self, source: LabelledImages, ipc: int, method: str, network: str, real_batch: int, strategy: str, seed: int
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.objective, self.real_batch, self.operations = OBJECTIVES[method], real_batch, strategy.split("_")
        self.images = _floats(source)
        labels = source.labels.cpu().numpy()
        self.members = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
        self.build = lambda: network_of(network, len(self.members), source.shape)
        self.pixels = torch.cat([self._some(members, ipc) for members in self.members]).requires_grad_()
        self.optimizer = torch.optim.SGD([self.pixels], lr=SGD.lr, momentum=SGD.momentum)

    def step(self) -> float:
        """Run one iteration, and return its loss."""
        network = self.build().to(self.images.device).requires_grad_(False)
        loss = iteration_loss(network, self.objective, self._classes())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _classes(self) -> Iterator[Class]:
        for members, own in zip(self.members, self.pixels.chunk(len(self.members)), strict=True):
            strengths = torch.rand(1, 3, device=self.images.device)
            yield self._some(members, self.real_batch), own, (str(self.rng.choice(self.operations)), strengths)

    def _some(self, members: np.ndarray, images: int) -> Tensor:
        return self.images[self.rng.permutation(members)[:images]]


def _floats(source: LabelledImages) -> Tensor:
    images = torch.empty(source.images.shape, device=source.images.device)
    # In parts, because temporaries of the whole set would count as peak memory, and the loop does not need them.
    for part, raw in zip(images.split(1024), source.images.split(1024), strict=True):
        part.copy_(source.normalise(raw))
    return images


# Training.


def train(
    network: nn.Module,
    images: Float[Tensor, "n ch h w"],
    labels: Int64[Tensor, "n"],
    training: Training,
    seed: int,
) -> float:
    """Train by the evaluation recipe over a DataLoader, from images on the host; return the last epoch's mean loss."""
    device, rng = next(network.parameters()).device, np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(TensorDataset(images, labels), training.batch, shuffle=True, generator=generator)
    optimizer, total = _optimizer(network, training, training.lr), 0.0
    network.train()
    for epoch in range(training.epochs):
        if epoch == max(1, training.epochs // 2):
            optimizer = _optimizer(network, training, training.lr / 10)
        total = 0.0
        for batch, targets in loader:
            batch, targets = batch.to(device), targets.to(device)
            draw = str(rng.choice(training.augmentation.split("_"))), torch.rand(len(batch), 3, device=device)
            loss = F.cross_entropy(network(augmented(batch, draw)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
    return total / len(labels)


def _optimizer(network: nn.Module, training: Training, lr: float) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), lr=lr, momentum=training.momentum, weight_decay=training.weight_decay)


# Augmentation: each operation takes images [n, ch, side, side] and three numbers in [0, 1) per image, or for all.
# The numbers of DSA are repeated here, because tests compare the core's augmentation with these operations.

CROP, CUTOUT = 0.125, 0.5  # of the side
SCALE, ROTATE = 1.2, math.pi / 12


def augmented(images: Float[Tensor, "n ch h w"], draw: Draw) -> Float[Tensor, "n ch h w"]:
    """The images after one operation; an empty name leaves them as they are."""
    operation, strengths = draw
    return OPERATIONS[operation](images, *strengths.T) if operation else images


def _flip(images: Tensor, r: Tensor, *_: Tensor) -> Tensor:
    return torch.where(r.view(-1, 1, 1, 1) < 0.5, images.flip(3), images)


def _crop(images: Tensor, across: Tensor, down: Tensor, _: Tensor) -> Tensor:
    side = images.shape[-1]
    reach = int(side * CROP + 0.5)
    line, which = (torch.arange(size, device=images.device) for size in (side, len(images)))
    left, top = ((number * (2 * reach + 1)).long()[:, None] + line for number in (across, down))
    padded = F.pad(images, (reach, reach, reach, reach)).movedim(1, -1)
    return padded[which[:, None, None], top[:, :, None], left[:, None, :]].movedim(-1, 1).contiguous()


def _cutout(images: Tensor, down: Tensor, across: Tensor, _: Tensor) -> Tensor:
    side = images.shape[-1]
    size = int(side * CUTOUT + 0.5)
    corners = ((number * (side + 1 - size % 2)).long()[:, None] - size // 2 for number in (down, across))
    line = torch.arange(side, device=images.device)
    rows, columns = ((line >= corner) & (line < corner + size) for corner in corners)
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])


def _color(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    brightness, saturation, contrast = (r.view(-1, 1, 1, 1) for r in (brightness, saturation, contrast))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * 2) + grey
    level = images.mean((1, 2, 3), keepdim=True)
    return (images - level) * (contrast + 0.5) + level


def _scale(images: Tensor, across: Tensor, down: Tensor, _: Tensor) -> Tensor:
    x, y = (number * (SCALE - 1 / SCALE) + 1 / SCALE for number in (across, down))
    zero = torch.zeros_like(x)
    return _warp(images, (x, zero, zero, zero, y, zero))


def _rotate(images: Tensor, r: Tensor, *_: Tensor) -> Tensor:
    angle = (r * 2 - 1) * ROTATE
    zero = torch.zeros_like(r)
    return _warp(images, (angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero))


def _warp(images: Tensor, entries: tuple[Tensor, ...]) -> Tensor:
    theta = torch.stack(entries, dim=1).view(-1, 2, 3).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, align_corners=True)


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
