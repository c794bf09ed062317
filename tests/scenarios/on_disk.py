"""Data sets written to disk in their real formats, small."""

import numpy as np
import pytest
from PIL import Image

from scenarios.datasets import load


def complaint(name, root, resolution=None):
    """The message of the ValueError that `load` must raise: always one line."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        load(name, root, resolution)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def records(labels, label_bytes, seed):
    """Official CIFAR binary records with random pixels: the bytes, and the pixels [n, 3, 32, 32]."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    leading = np.zeros((len(labels), label_bytes - 1), np.uint8)
    return np.hstack([leading, np.array(labels, np.uint8)[:, None], pixels]), pixels.reshape(-1, 3, 32, 32)


def write_cifar(root, layout, seed=0):
    """Tiny binary CIFAR, every class once in every file; returns the pixels by file name."""
    folder = root / layout.binary_folder
    folder.mkdir(parents=True)
    written = {}
    for number, name in enumerate((*layout.binary_train, layout.binary_test)):
        data, written[name] = records(range(len(layout.class_names)), layout.label_bytes, seed + number)
        data.tofile(folder / name)
    return written


def write_picture(path, colour, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
