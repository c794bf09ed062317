"""Published accuracies beside the points of a grid."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from condensers.device.training import Training
from harness.core.points import Point
from harness.core.scoring import Scoring
from harness.evidence.published import convnet
from harness.evidence.scores import published_accuracy
from scenarios.datasets import load

WIDE = convnet(128, 32)


def point(training=Training()):  # noqa: B008 (frozen)
    """Of images that have the name and the size of the published ones."""
    images = replace(load("digits", Path("data"), 32), name="cifar10")
    scoring = Scoring(images, "bench-1", WIDE, training, 5, 0, "fp32", torch.device("cpu"))
    return Point((), scoring, convnet(64, 32), 10)


def test_a_published_accuracy_stands_beside_the_same_evaluation_on_the_test_set_alone():
    assert published_accuracy(point(), "dm", tested=True) == pytest.approx(0.489)
    assert math.isnan(published_accuracy(point(), "dm", tested=False))
    assert math.isnan(published_accuracy(point(Training(epochs=300)), "dm", tested=True))
    assert math.isnan(published_accuracy(point(), "readout", tested=True))
