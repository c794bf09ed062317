"""The picture of a memory: its images, class by class."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.evidence.figures import GREY, blank, inches, save_figure

MAX_ROWS = 40
TILE = 48
GAP = 2
TOP, FOOT, EDGE = 24, 16, 6  # pixels of a title above and of a note below, and beside texts
PIXELS = 100  # an inch
NAME, TITLE, NOTE = 8, 9, 7  # points
LONGEST = 24  # letters of a class name


def preview(
    images: Any, labels: Any, path: Path, columns: int = 10, names: Sequence[str] = (), title: str = ""
) -> None:
    """The first images of every class: one row per class, small images enlarged by a whole factor.

    At most the first 40 classes are drawn; the picture says so, and how many images of each class it leaves out.

    Args:
        images: torch tensor or numpy array `[n, channels, height, width]`, floats in [0, 1], 1 or 3 channels.
        labels: class of each image, `[n]`.
        path: the PNG to write.
        columns: images per class at most.
        names: the names of all classes, by label; without them rows are labelled by number.
        title: what the images are.

    Raises:
        ValueError: other shapes or values, or a path that cannot be written.
    """
    images, labels = _numpy(images), _numpy(labels)
    _check_images(images, labels, columns)
    classes, counts = np.unique(labels, return_counts=True)
    chosen = [images[labels == label][:columns] for label in classes[:MAX_ROWS]]
    rows = [_short(names[label]) if names else str(label) for label in classes[:MAX_ROWS]]
    _save_grid(_tiled(chosen), rows, title, _left_out(len(classes), counts.max(), columns), path)


def _left_out(classes: int, per_class: int, columns: int) -> str:
    said = [f"first {MAX_ROWS} of {classes} classes"] if classes > MAX_ROWS else []
    said += [f"first {columns} of {per_class} images per class"] if per_class > columns else []
    return ", ".join(said)


def _numpy(values: Any) -> np.ndarray:
    values = values.detach().cpu() if hasattr(values, "detach") else values
    # numpy has no bfloat16.
    return np.asarray(values.float() if getattr(values, "is_floating_point", bool)() else values)


def _check_images(images: np.ndarray, labels: np.ndarray, columns: int) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or labels.shape != images.shape[:1] or not len(images):
        raise ValueError(
            f"a grid needs images [n, 1 or 3, height, width] and labels [n], not {images.shape} and {labels.shape}"
        )
    # Written with `not`, so that nan is refused, too.
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"pixels must lie in [0, 1], not [{images.min():.3g}, {images.max():.3g}]: denormalise first")
    if columns < 1:
        raise ValueError(f"a grid needs at least one column, not {columns}")


def _tiled(rows: list[np.ndarray]) -> np.ndarray:
    _, channels, height, width = rows[0].shape
    factor = math.ceil(TILE / min(height, width))
    tall, wide = height * factor + GAP, width * factor + GAP
    canvas = np.ones((channels, len(rows) * tall - GAP, max(map(len, rows)) * wide - GAP), np.float32)
    for top, row in enumerate(rows):
        for left, image in enumerate(row):
            large = image.repeat(factor, axis=1).repeat(factor, axis=2)
            canvas[:, top * tall : (top + 1) * tall - GAP, left * wide : (left + 1) * wide - GAP] = large
    return np.broadcast_to(canvas, (3, *canvas.shape[1:])).transpose(1, 2, 0)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."


def _save_grid(pixels: np.ndarray, names: list[str], title: str, note: str, path: Path) -> None:
    height, width = pixels.shape[:2]
    left, top, foot = round(2 * EDGE + PIXELS * inches(names, NAME)), TOP if title else 0, FOOT if note else 0
    # A picture may be narrower than its title or note.
    said = round(2 * EDGE + PIXELS * max(inches([title], TITLE), inches([note], NOTE)))
    wide, tall = max(left + width, said), top + height + foot
    # One figure pixel per canvas pixel: any resampling would blur images that are small already.
    figure = blank(wide / PIXELS, tall / PIXELS, dpi=PIXELS)
    figure.figimage(pixels, xo=left, yo=foot)
    for row, name in enumerate(names):
        middle = foot + height - (row + 0.5) * (height + GAP) / len(names)
        figure.text((left - EDGE) / wide, middle / tall, name, fontsize=NAME, color=GREY, ha="right", va="center")
    figure.text(EDGE / wide, (foot + height + 8) / tall, title, fontsize=TITLE, fontweight="bold")
    figure.text(EDGE / wide, 4 / tall, note, fontsize=NOTE, color=GREY)
    save_figure(figure, path)
