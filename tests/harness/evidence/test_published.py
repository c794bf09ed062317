"""Published numbers are found by what they are about, and verdicts follow the written rule."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

import harness.evidence
from condensers import registry
from condensers.device.training import Training
from harness.evidence.intervals import Interval
from harness.evidence.published import Published, published, verdict

CONVNET = "ConvNet-W128-D3-IN-ReLU-Avg"
PAPER, QUICK = Training(), Training(epochs=60, batch=64)
KNOWN = Published(0.489, "48.9 (x)", comparable=True)


def between(low, high, n=3):
    return Interval((low + high) / 2, low, high, n, "t")


@pytest.mark.parametrize(
    ("expected", "measured", "networks", "training", "known"),
    [
        ("reproduced", between(0.481, 0.499), 5, PAPER, KNOWN),
        ("not reproduced", between(0.47, 0.50), 5, PAPER, KNOWN),  # too wide
        ("not reproduced", between(0.47, 0.48), 5, PAPER, KNOWN),
        ("exceeded", between(0.49, 0.53), 5, PAPER, KNOWN),
        ("not run", between(0.481, 0.499, n=2), 5, PAPER, KNOWN),
        ("not run", between(0.481, 0.499), 4, PAPER, KNOWN),
        ("not run", between(0.481, 0.499), 5, QUICK, KNOWN),
        ("not run", between(0.481, 0.499), 5, replace(PAPER, epochs=999), KNOWN),
        ("not run", between(0.481, 0.499), 5, replace(PAPER, augmentation=""), KNOWN),
        ("other evaluation", between(0.481, 0.499), 5, PAPER, replace(KNOWN, comparable=False)),
        ("", between(0.481, 0.499), 5, PAPER, None),
    ],
)
def test_verdicts(expected, measured, networks, training, known):
    assert verdict(measured, networks, training, known) == expected
    assert verdict(measured, networks, training, known, tested=False) in ("", "not run")


def test_published_numbers_are_found_by_what_they_are_about():
    assert published("cifar10", 32, 10, "dm", CONVNET, CONVNET).said == "48.9 ± 0.6 (DDM, 1)"
    narrow = CONVNET.replace("W128", "W64")
    assert published("cifar10", 32, 10, "dm", narrow, CONVNET) == published("cifar10", 32, 10, "dm", CONVNET, CONVNET)
    assert published("cifar10", 32, 10, "dm", CONVNET, narrow) is None
    assert published("cifar10", 32, 10, "ours", CONVNET, "VGG11").value == pytest.approx(0.462)
    assert published("cifar10", 32, 10, "idm+sm", CONVNET, CONVNET).value == pytest.approx(0.602)
    assert published("cifar10", 32, 10, "dm", "ResNet18", "ResNet18").value == pytest.approx(0.326)
    assert not published("cifar10", 32, 10, "random", CONVNET, CONVNET).comparable
    shallow = "ConvNet-W128-D2-IN-ReLU-Avg"
    for point in (
        ("cifar10", 32, 10, "dm", "ConvNet-W128-D3-BN-ReLU-Avg", CONVNET),
        ("cifar10", 32, 10, "dm", shallow, shallow),
        ("cifar10", 16, 10, "dm", shallow, shallow),
        ("digits", 8, 10, "dm", CONVNET, CONVNET),
    ):
        assert published(*point) is None
    deep = "ConvNet-W128-D4-IN-ReLU-Avg"
    assert published("tinyimagenet", 64, 10, "dm", deep, deep).value == pytest.approx(0.129)


def test_every_published_line_names_a_condenser():
    lines = list(csv.DictReader((Path(harness.evidence.__file__).parent / "published.csv").open()))
    assert len(lines) > 150
    for line in lines:
        assert 0 < float(line["percent"]) < 100
        assert registry.condenser(line["condenser"])
