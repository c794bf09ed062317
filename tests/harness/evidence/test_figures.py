import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from harness.evidence.figures import continual_curve, memory_grid

ROOT = Path(__file__).resolve().parents[3]


def frame_of(condensers=("dm", "random"), orders=3, networks=2, steps=5):
    rows = [
        {"condenser": name, "class_order": order, "network_replicate": k, "step": step, "classes_seen": 2 * step}
        | {"value": 0.9 - 0.1 * step + 0.02 * order + 0.005 * k - 0.03 * place}
        for place, name in enumerate(condensers)
        for order in range(orders)
        for k in range(networks)
        for step in range(1, steps + 1)
    ]
    same = {"dataset": "digits", "dataset_checksum": "ab", "ipc_stored": 5, "steps": steps, "protocol": "short"}
    return pd.DataFrame(rows).assign(memory_replicate=0, metric="accuracy", **same)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, with their artists."""
    seen = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *rest, **named: (seen.append(self), savefig(self, *rest, **named))
    )
    return seen


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def test_a_dollar_in_a_name_begins_no_formula(tmp_path, drawn):
    names = ("$b^$", r"a$\frac$")
    continual_curve(frame_of(names), tmp_path / "curve.png")
    assert [text.get_text() for text in drawn[0].axes[0].texts] == list(names)


def test_a_curve_has_a_line_a_band_and_a_name_per_condenser(tmp_path, drawn):
    continual_curve(frame_of(), tmp_path / "new" / "curve.png")
    axes = drawn[0].axes[0]
    curve = axes.lines[0]
    assert curve.get_xdata().tolist() == [2, 4, 6, 8, 10]
    # Mean over orders (0.02) and networks (0.0025) of 0.9 - 0.1 * step, in percent.
    assert curve.get_ydata() == pytest.approx([82.25, 72.25, 62.25, 52.25, 42.25])
    assert [text.get_text() for text in axes.texts] == ["dm", "random"]
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    # t(.975, 2) = 4.303 times the standard error 2 / sqrt(3) points.
    assert np.nanmin(band) == pytest.approx(42.25 - 4.303 * 2 / 3**0.5, abs=0.01)
    assert imread(tmp_path / "new" / "curve.png").shape[0] > 600
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["curve.png"]


def test_a_curve_says_what_it_shows(tmp_path, drawn):
    continual_curve(frame_of(), tmp_path / "curve.png")
    title, counts, protocol = texts_of(drawn[0])
    assert title == "digits in 5 steps, 5 stored images per class"
    assert counts == "3 class orders, 2 networks per memory; band: 95 % interval over memories (t)"
    assert protocol == "protocol short"


def test_unequal_replicates_are_said(tmp_path, drawn):
    frame = frame_of()
    frame = frame[(frame["condenser"] == "dm") | (frame["class_order"] == 0)]
    again = frame[frame["condenser"] == "dm"].assign(memory_replicate=1)
    continual_curve(pd.concat([frame, again]), tmp_path / "curve.png")
    assert texts_of(drawn[0])[1].startswith("1-3 class orders, 1-6 memories, 2 networks per memory;")


def test_one_memory_draws_a_line_without_a_band(tmp_path, drawn):
    continual_curve(frame_of(orders=1, networks=1), tmp_path / "curve.png")
    axes = drawn[0].axes[0]
    assert len(axes.lines[0].get_xdata()) == 5
    assert not any(path.vertices.size for band in axes.collections for path in band.get_paths())
    assert texts_of(drawn[0])[1] == "1 class order, 1 network per memory; one memory: no interval"


def test_names_do_not_overlap_and_keep_their_order(tmp_path, drawn):
    names = [f"condenser-{letter}" for letter in "abcdefghij"]
    frame = frame_of(names)
    frame["value"] = 0.9 - 0.1 * frame["step"] - 0.001 * frame["condenser"].map(names.index)
    continual_curve(frame, tmp_path / "curve.png")
    figure = drawn[0]
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert [text.get_text() for text in figure.axes[0].texts] == names
    for upper, lower in pairwise(boxes):
        assert lower.y1 <= upper.y0 + 1


def test_condensers_can_be_told_apart_without_colour(tmp_path, drawn):
    names = [f"condenser-{letter}" for letter in "abcdefghijklmnopqrstu"]
    continual_curve(frame_of(names, orders=1, networks=1, steps=2), tmp_path / "curve.png")
    lines = drawn[0].axes[0].lines[: len(names)]
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == len(names)
    assert len({line.get_color() for line in lines[:7]}) == 7


def test_a_condenser_that_diverged_does_not_break_the_figure(tmp_path, drawn):
    frame = frame_of()
    frame.loc[(frame["condenser"] == "dm") & (frame["step"] == 5), "value"] = float("nan")
    continual_curve(frame, tmp_path / "curve.png")
    heights = [text.get_position()[1] for text in drawn[0].axes[0].texts]
    assert np.isfinite(heights).all()
    assert heights[0] < heights[1]


def test_a_curve_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no accuracies to draw in .*curve\.png"):
        continual_curve(frame_of()[:0], tmp_path / "curve.png")


def test_a_curve_of_two_experiments_is_refused(tmp_path):
    mixed = pd.concat([frame_of(), frame_of().assign(dataset="cifar10", dataset_checksum="cd")])
    with pytest.raises(ValueError, match="several dataset_checksum values"):
        continual_curve(mixed, tmp_path / "curve.png")


def test_a_path_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write .*curve\.png"):
        continual_curve(frame_of(), tmp_path / "file" / "curve.png")


def test_figures_leave_pyplot_alone(tmp_path):
    script = (
        "import sys, numpy; from harness.evidence.figures import memory_grid; "
        f"memory_grid(numpy.zeros((2, 1, 8, 8)), numpy.arange(2), {str(tmp_path / 'x.png')!r}); "
        "sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def tile(picture, row, column, side=48, gap=2):
    """The pixels of one image in a saved grid, whatever stands to the left of it."""
    left = picture.shape[1] - (3 * (side + gap) - gap) + column * (side + gap)
    top = row * (side + gap)
    return picture[top : top + side, left : left + side, :3]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["torch", "bfloat16", "numpy"])
def test_a_grid_shows_the_first_images_of_every_class_enlarged(tmp_path, channels, kind):
    # Multiples of 1/16 are exact in bfloat16; labels are out of order on purpose.
    images = np.random.default_rng(0).integers(0, 17, (12, channels, 8, 8)) / 16
    labels = np.array([1, 0, 1, 0, 1, 0, 1, 0, 7, 7, 7, 7])
    given = {
        "numpy": (images, labels),
        "torch": (torch.tensor(images, requires_grad=True), torch.tensor(labels)),
        "bfloat16": (torch.tensor(images, dtype=torch.bfloat16), torch.tensor(labels)),
    }[kind]
    memory_grid(*given, tmp_path / "grid.png", columns=3)
    picture = imread(tmp_path / "grid.png")
    assert picture.shape[0] == 3 * 50 - 2
    for row, label in enumerate((0, 1, 7)):
        for column, image in enumerate(images[labels == label][:3]):
            expected = np.broadcast_to(image, (3, 8, 8)).repeat(6, axis=1).repeat(6, axis=2).transpose(1, 2, 0)
            assert np.abs(tile(picture, row, column) - expected).max() < 1 / 200


def test_a_grid_of_many_classes_shows_forty_and_says_so(tmp_path, drawn):
    memory_grid(np.zeros((50, 3, 64, 64)), np.arange(50), tmp_path / "grid.png")
    texts = texts_of(drawn[0])
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
        memory_grid(images, labels, tmp_path / "grid.png", columns)
    assert not list(tmp_path.iterdir())
