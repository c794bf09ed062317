"""The picture of a memory: its images, its names, and what it says."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from harness.evidence.previews import preview

ROOT = Path(__file__).resolve().parents[3]


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def test_figures_leave_pyplot_alone(tmp_path):
    script = (
        "import sys, numpy; from harness.evidence.previews import preview; "
        f"preview(numpy.zeros((2, 1, 8, 8)), numpy.arange(2), {str(tmp_path / 'x.png')!r}); "
        "sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def tile(figure, picture, row, column, side=48, gap=2):
    """The pixels of one image in a saved grid."""
    left, top = figure.images[0].ox + column * (side + gap), row * (side + gap)
    return picture[top : top + side, left : left + side, :3]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["torch", "bfloat16", "numpy"])
def test_a_grid_shows_the_first_images_of_every_class_enlarged(tmp_path, drawn, channels, kind):
    # Multiples of 1/16 are exact in bfloat16; labels are out of order on purpose.
    images = np.random.default_rng(0).integers(0, 17, (12, channels, 8, 8)) / 16
    labels = np.array([1, 0, 1, 0, 1, 0, 1, 0, 7, 7, 7, 7])
    given = {
        "numpy": (images, labels),
        "torch": (torch.tensor(images, requires_grad=True), torch.tensor(labels)),
        "bfloat16": (torch.tensor(images, dtype=torch.bfloat16), torch.tensor(labels)),
    }[kind]
    preview(*given, tmp_path / "grid.png", columns=3)
    picture = imread(tmp_path / "grid.png")
    assert picture.shape[0] == 3 * 50 - 2 + 16
    for row, label in enumerate((0, 1, 7)):
        for column, image in enumerate(images[labels == label][:3]):
            expected = np.broadcast_to(image, (3, 8, 8)).repeat(6, axis=1).repeat(6, axis=2).transpose(1, 2, 0)
            assert np.abs(tile(drawn[0], picture, row, column) - expected).max() < 1 / 200


def test_a_grid_says_what_it_shows_and_names_its_classes(tmp_path, drawn):
    images, names = np.zeros((6, 1, 8, 8)), ["airplane", "x" * 100, "cat"]
    title = "dm: a data set with a rather long name, 2 images per class"
    preview(images, np.arange(6) % 3, tmp_path / "grid.png", columns=1, names=names, title=title)
    figure = drawn[0]
    assert [text for text in texts_of(figure) if text] == [
        *("airplane", "x" * 21 + "...", "cat"),
        title,
        "first 1 of 2 images per class",
    ]
    for text in figure.texts:  # none is cut off, and none stands on an image
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
    assert max(text.get_window_extent().x1 for text in figure.texts[:3]) < figure.images[0].ox
    picture = imread(tmp_path / "grid.png")
    assert picture.shape[0] == 24 + 3 * 50 - 2 + 16


def test_a_grid_of_many_classes_shows_forty_and_says_so(tmp_path, drawn):
    preview(np.zeros((50, 3, 64, 64)), np.arange(50), tmp_path / "grid.png")
    texts = [text for text in texts_of(drawn[0]) if text]
    assert texts == [*map(str, range(40)), "first 40 of 50 classes"]
    assert imread(tmp_path / "grid.png").shape[0] == 40 * 66 - 2 + 16


@pytest.mark.parametrize(
    ("images", "labels", "columns", "message"),
    [
        (np.zeros((2, 2, 8, 8)), [0, 1], 10, "1 or 3"),
        (np.zeros((2, 8, 8)), [0, 1], 10, "1 or 3"),
        (np.zeros((2, 1, 8, 8)), [0], 10, r"\(2, 1, 8, 8\) and \(1,\)"),
        (np.zeros((0, 1, 8, 8)), [], 10, "a grid needs images"),
        (np.full((1, 1, 8, 8), -0.5), [0], 10, "denormalise first"),
        (np.full((1, 1, 8, 8), 200), [0], 10, "denormalise first"),
        (np.full((1, 1, 8, 8), np.nan), [0], 10, "denormalise first"),
        (np.zeros((1, 1, 8, 8)), [0], 0, "at least one column"),
    ],
)
def test_what_is_no_grid_is_refused(tmp_path, images, labels, columns, message):
    with pytest.raises(ValueError, match=message):
        preview(images, labels, tmp_path / "grid.png", columns)
    assert not list(tmp_path.iterdir())
