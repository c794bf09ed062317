"""Published numbers are found by what they are about, and verdicts follow the written rule."""

from collections import Counter
from dataclasses import replace

import pytest

from condensers import registry
from condensers.device.training import Training
from harness.evidence.intervals import Interval
from harness.evidence.published import UNITS, Published, lines, point_of, published, published_of, short, verdict

CONVNET = "ConvNet-W128-D3-IN-ReLU-Avg"
PAPER, QUICK = Training(), Training(epochs=60, batch=64)
BOUNDS = {"%": (0, 100), "correlation": (-1, 1), "min": (0, 10**4)}
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
        ("not run", between(0.481, 0.499), 5, None, KNOWN),
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
    assert not published("cifar10", 32, 10, "herding", CONVNET, CONVNET).comparable
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


def test_published_numbers_are_found_however_a_network_is_spelled():
    usual = published("cifar10", 32, 10, "dm", CONVNET, CONVNET)
    assert published("cifar10", 32, 10, "dm", "ConvNet-W64-D3", "ConvNet-W128-D3-IN") == usual
    assert published("cifar10", 32, 10, "dm", "ResNet18-IN", "ResNet18-IN").value == pytest.approx(0.326)
    assert published("cifar10", 32, 10, "dm", "ConvNet-W64-D3-BN", "ConvNet-W128-D3") is None
    assert short("VGG11-IN", 32) == "VGG11"
    assert short("of-a-plugin", 32) == "of-a-plugin"


def test_every_published_line_names_a_condenser_or_none():
    assert len(lines()) == 241
    unknown = set()
    for line in lines():
        least, most = BOUNDS[UNITS[line["metric"]]]
        assert least < float(line["value"]) < most
        assert line["comparable"] in ("True", "False")
        assert line["metric"] in UNITS
        assert line["method"]
        if line["condenser"] not in ("", "whole", "any"):
            assert registry.condenser(line["condenser"])
        if not line["condenser"]:
            unknown.add(line["method"])
            assert "no condenser here" in line["note"]
    assert unknown == {"dd", "ddm paper preset"}


def test_no_number_stands_there_twice():
    places = [(line["source"], line["table"], line["method"], *point_of(line)) for line in lines()]
    assert len(places) == len(set(places))
    sources = Counter((line["source"], line["table"]) for line in lines())
    tables = {"1": 79, "2": 30, "3": 12, "4": 28, "5": 45, "6": 16, "7": 11, "8": 4, "Figure 3b": 5}
    others = {("DDM's authors, later", "rerun"): 9, ("M3D", "listing"): 2}
    assert sources == {("DDM", table): count for table, count in tables.items()} | others


def test_only_accuracies_of_memories_are_found_by_what_they_are_about():
    assert published("cifar100", 32, 20, "dm", CONVNET, CONVNET) is None  # that of a stream
    assert published("cifar10", 32, 10, "dm+icd", CONVNET, CONVNET).said == "49.90 (DDM, 6)"
    assert {line["metric"] for line in published_of("dm")} == {"accuracy"}


def test_of_several_numbers_of_a_point_the_comparable_one_stands_beside():
    random = published("cifar10", 32, 10, "random", CONVNET, CONVNET)
    assert (random.comparable, random.value) == (True, pytest.approx(0.3315))
