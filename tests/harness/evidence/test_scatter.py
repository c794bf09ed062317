"""The figure of a proxy: where its points are, which are ringed, what it says."""

import pandas as pd
import pytest
from matplotlib.image import imread

from harness.evidence.ranking import Correlation
from harness.evidence.scatter import choice, scatter

SIDES = pd.DataFrame(
    {"proxy": [0.5, 0.9, float("nan"), 0.9], "whole": [0.6, 1.0, 0.1, 0.95], "norm": ["NN", "IN", "BN", "IN"]},
    index=[f"ConvNet-W8-D{depth}-IN-ReLU-Max" for depth in range(4)],
)
ROW = {
    "proxy": "dm+sm:2",
    "spearman": Correlation(0.876, 0.5, 0.95, 45, "spearman"),
    "dataset": "digits",
    "space": "convnets-405",
    "stored_images": 100,
    "steps": 120,
    "memories": 1,
    "networks": 2,
    "whole_recipe": "quick-whole-1",
    "chosen": tuple(SIDES.index[[1, 3]]),
    "accuracy": 0.975,
    "regret": 0.025,
}


def test_a_point_per_architecture_in_the_colour_of_its_norm_and_rings(tmp_path, drawn):
    scatter(SIDES, ROW, tmp_path / "scatter.png")
    axes = drawn[0].axes[0]
    *norms, rings = axes.collections
    points = {each.get_label(): each.get_offsets().tolist() for each in norms}
    # In errors, percent: a diverged network at zero, one without an error where the scale ends.
    assert points == {
        "no norm": [[50, 40]],
        "batch norm": [[100, 90]],
        "layer norm": [],
        "instance norm": [[pytest.approx(10), 0.05], [pytest.approx(10), pytest.approx(5)]],
        "group norm": [],
    }
    assert rings.get_offsets().tolist() == points["instance norm"]
    assert len({tuple(each.get_facecolor()[0]) for each in norms}) == 5
    assert imread(tmp_path / "scatter.png").shape[0] > 600


def test_axes_are_marked_by_accuracy_the_best_at_the_far_end(tmp_path, drawn):
    scatter(SIDES, ROW, tmp_path / "scatter.png")
    axes = drawn[0].axes[0]
    assert axes.yaxis.get_inverted()
    marks = dict(zip(axes.get_yticks(), (label.get_text() for label in axes.get_yticklabels()), strict=True))
    assert (marks[20], marks[1], marks[0.1]) == ("80", "99", "99.9")


def test_axes_of_errors_that_differ_by_little_have_finer_marks(tmp_path, drawn):
    scatter(SIDES.assign(proxy=[0.2, 0.3, 0.5, 0.4], whole=[0.6, 0.1, 0.5, 0.3]), ROW, tmp_path / "scatter.png")
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()][:5] == ["15", "20", "25", "30", "35"]


def test_what_a_figure_says(tmp_path, drawn):
    scatter(SIDES, ROW | {"noise_ceiling": Correlation(0.98, 0.9, 0.99, 45, "spearman")}, tmp_path / "scatter.png")
    title, what, found, scale = (text.get_text() for text in drawn[0].texts)
    assert title == "dm+sm:2: Spearman 0.88 [0.50, 0.95] n=45"
    assert what.endswith("100 stored images, 120 steps; whole set: quick-whole-1; noise ceiling 0.98 [0.90, 0.99] n=45")
    assert found == "chosen: W8-D1-IN-ReLU-Max (+1), 97.5 %, 2.5 points below the best"
    assert (
        scale == "both axes are logarithmic in the error; 95 % intervals over architectures, of 1 memory and 2 networks"
    )


def test_one_choice_is_named_alone():
    assert choice({"chosen": ("ConvNet-W8-D1-IN-ReLU-Max",)}) == "W8-D1-IN-ReLU-Max"
