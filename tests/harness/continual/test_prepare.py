"""What the continual command knows before it makes anything: networks, work, and what there is too little of."""

from dataclasses import replace

import pytest

from harness.continual.experiment import prepare
from harness.continual.flags import Continual
from harness.continual.stream import cells

SMALL = Continual(condensers=("random", "dm"), memory_per_class=3, orders=2, networks=2, iterations=3, epochs=4)


def test_work_is_counted_in_decoded_images(tmp_path):
    experiment = prepare(replace(SMALL, condensers=("m3d", "m3d-f1"), out=tmp_path))
    trained = {cell.shown["condenser"]: cell.work.trained for cell in cells(experiment)}
    assert trained["m3d"] == 4 * trained["m3d-f1"] > 0


def test_too_few_images_to_decode_are_said_before_anything_is_made(tmp_path):
    said = r"^40 images per class asked for, each from 4 real ones, but the smallest class has 13\d: give 1 to 3\d$"
    with pytest.raises(ValueError, match=said):
        prepare(replace(SMALL, condensers=("random", "m3d"), memory_per_class=40, out=tmp_path))


def test_under_bench_the_stream_trains_wider_networks_than_are_matched_on(tmp_path):
    experiment = prepare(Continual(protocol="bench", condensers=("dm",), out=tmp_path))
    assert experiment.schedule.network == "ConvNet-W64-D2-IN-ReLU-Avg"
    assert experiment.network == "ConvNet-W128-D2-IN-ReLU-Avg"
