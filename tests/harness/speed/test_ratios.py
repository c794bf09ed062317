"""The figure of `harness.speed`: its lines, its bars and their colours."""

import pandas as pd
import pytest

from harness.evidence.figures import COLOURS
from harness.speed.ratios import figure
from harness.speed.rows import COMPARED

SAME = {"dataset": "cifar10", "classes": 10, "precision": "fp32", "machine": "two cores", "device": "cpu"}


def rows(what, method, ipc, competitor, *ratios):
    own = {"what": what, "method": method, "ipc": ipc, "competitor": competitor}
    return [SAME | own | {"ratio": ratio} for ratio in ratios]


FRAME = pd.DataFrame(
    [
        *rows("condense", "dm", 1, "plain", None, None),
        *rows("condense", "dm", 1, "plain, memory kept", 2.0, 2.0),
        *rows("condense", "dm", 1, "core", 2.0, 4.5),
        *rows("train", "evaluation", 10, "core", 1.5),
        *rows("lockstep", "eight readings", 10, "dm and eight readings", 0.4, 0.4),
    ]
)


def test_a_panel_per_baseline_a_line_per_measurement_a_colour_per_competitor(tmp_path, drawn):
    figure(FRAME, tmp_path / "speed.png")
    plain, lockstep = drawn[0].axes
    assert [label.get_text() for label in plain.get_yticklabels()] == [
        "cifar10, dm, 1 per class",
        "cifar10, training, 10 per class",
    ]
    colours = [COLOURS[COMPARED.index(name)] for name in ("core", "plain, memory kept", "core")]
    assert [container.patches[0].get_facecolor()[:3] for container in plain.containers] == [
        pytest.approx(tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))) for colour in colours
    ]
    assert [bar.patches[0].get_width() for bar in plain.containers] == pytest.approx([3, 2, 1.5])
    assert [text.get_text() for text in plain.get_legend().get_texts()] == ["core", "plain, memory kept"]
    assert plain.get_xlabel() == "times the plain loop's speed"
    assert lockstep.get_xlabel() == "times the speed of dm alone (1 / ratio is what they cost together)"


def test_nothing_is_cut_off(tmp_path, drawn):
    figure(FRAME, tmp_path / "speed.png")
    canvas = drawn[0]
    for axes in canvas.axes:
        for text in (axes.xaxis.label, *axes.get_yticklabels(), *axes.get_legend().get_texts()):
            box = text.get_window_extent()
            assert canvas.bbox.x0 <= box.x0
            assert box.x1 <= canvas.bbox.x1
