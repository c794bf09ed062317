"""The figure of accuracy against cost: where its marks are, and what it says."""

import pandas as pd
import pytest

from harness.evidence.costs import cost_figure

PUBLISHED, NONE = "published accuracy", float("nan")
SAME = {"dataset": "digits", "images per class": 1, "condensed on": "ConvNet-W8-D1", "trained": "ConvNet-W8-D1"}
SAME |= {"memories": 3, "networks": 1, "protocol": "quick-1"}


def table(*rows):
    columns = ("condenser", "league", "accuracy", "low", "high", "flop")
    return pd.DataFrame([SAME | dict(zip(columns, row, strict=True)) for row in rows]).assign(**{PUBLISHED: NONE})


ROWS = table(
    ("random", "strict", 0.6, 0.5, 0.7, 0.0),
    ("dm", "strict", 0.8, 0.7, 0.9, 1e9),
    ("ours", "open", 0.9, float("nan"), float("nan"), 1e9),
    ("bptt", "strict", 0.85, 0.8, 0.9, 1e12),
)


def marks(axes):
    """Place and colours of each mark, by its name in the legend."""
    handles, names = axes.get_legend_handles_labels()
    return {
        name: handle[0] if isinstance(handle, tuple) else handle for name, handle in zip(names, handles, strict=True)
    }


def test_marks_of_equal_cost_stand_side_by_side_and_others_where_they_are(tmp_path, drawn):
    cost_figure(ROWS, tmp_path / "cost.png")
    at = {name: mark.get_xdata()[0] for name, mark in marks(drawn[0].axes[0]).items()}
    assert at["dm"] < 1e9 < at["ours"]
    assert at["ours"] / at["dm"] == pytest.approx(10**0.04)
    assert at["bptt"] == pytest.approx(1e12)


def test_an_axis_that_does_not_start_at_zero_says_so(tmp_path, drawn):
    cost_figure(ROWS, tmp_path / "cost.png")
    axes = drawn[0].axes[0]
    assert axes.get_ylabel() == f"accuracy (%), from {axes.get_ylim()[0]:.0f} on"
    assert 40 < axes.get_ylim()[0] < 50  # below the least end of an interval


def test_leagues_selections_and_panels_can_be_told_apart(tmp_path, drawn):
    more = [ROWS.assign(**{"images per class": size}) for size in range(1, 14)]
    cost_figure(pd.concat(more), tmp_path / "cost.png")
    figure = drawn[0]
    own = marks(figure.axes[0])
    assert own["random"].get_linestyle() == "--"
    assert own["ours"].get_markerfacecolor() == "white"
    assert own["dm"].get_markerfacecolor() == own["dm"].get_color()
    assert len(figure.axes) == 12
    assert figure.get_supxlabel().endswith("First 12 of 13 panels.")


def test_lengths_of_a_condenser_are_joined_in_the_order_of_their_cost(tmp_path, drawn):
    lengths = table(("dm", "strict", 0.9, NONE, NONE, 1e12), ("dm", "strict", 0.8, 0.7, 0.9, 1e9))
    lengths["iterations"] = [3000, 3]
    cost_figure(pd.concat([ROWS[ROWS["condenser"] == "random"], lengths]), tmp_path / "cost.png")
    assert [note.get_text() for note in drawn[0].axes[0].texts] == ["3", "3,000"]
    assert drawn[0].get_supxlabel().endswith("\nBeside marks: iterations.")
    dm = marks(drawn[0].axes[0])["dm"]
    assert dm.get_linestyle() == "-"
    assert dm.get_xdata().tolist() == pytest.approx([1e9, 1e12])
    assert dm.get_ydata().tolist() == pytest.approx([80, 90])


def test_a_published_accuracy_is_a_dotted_line_in_the_colour_of_its_condenser(tmp_path, drawn):
    known = ROWS.assign(**{PUBLISHED: [NONE, 0.75, NONE, NONE]})
    cost_figure(known, tmp_path / "cost.png")
    axes = drawn[0].axes[0]
    (line,) = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert set(line.get_ydata()) == {75.0}
    assert line.get_color() == marks(axes)["dm"].get_color()


def test_methods_of_nearly_the_same_cost_have_an_axis_with_a_number_and_stay_together(tmp_path, drawn):
    # Their lockstep gives all of a table the same operations; side by side they must not fill the axis.
    alike = table(*((name, "strict", 0.8, 0.7, 0.9, 1.37e14) for name in ("dm", "ours", "readout")))
    cost_figure(alike, tmp_path / "cost.png")
    axes = drawn[0].axes[0]
    least, most = axes.get_xlim()
    assert any(least <= tick <= most for tick in axes.get_xticks())
    assert most / least >= 10 * 0.999
    assert {1e14, 2e14} <= set(axes.get_xticks()), "few powers of ten have numbers between them"
    cost_figure(ROWS, tmp_path / "cost.png")
    least, most = drawn[1].axes[0].get_xlim()
    assert most / least < 3e3, "an axis that is wide enough is left as it is"


def test_what_picks_real_images_has_its_interval_too(tmp_path, drawn):
    cost_figure(ROWS, tmp_path / "cost.png")
    cost_figure(ROWS.assign(low=NONE, high=NONE), tmp_path / "one.png")
    many, one = (figure.axes[0] for figure in drawn)
    (shade,) = many.patches
    assert (shade.get_y(), shade.get_y() + shade.get_height()) == pytest.approx((50, 70))
    assert not one.patches


def test_a_panel_says_how_many_memories_and_networks_are_behind_it(tmp_path, drawn):
    cost_figure(ROWS, tmp_path / "cost.png")
    assert drawn[0].axes[0].get_title(loc="left").endswith("\n3 memories of 1 network, protocol quick-1")
    said = drawn[0].get_supxlabel()
    assert "one memory has none" in said
    assert "Terms of objectives (Gram matrices, kernels, ridge readouts) are not counted" in said
