"""Which memories repeat each other, and how others stand to the first, on memories and accuracies made by hand."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from condensers.memory import Memory
from harness.core.makings import check_makings, making
from harness.core.stored import Stored
from harness.evaluate.comparison import Scored, format_table, table
from harness.evidence.intervals import interval

ALL = [[[0, 1], 2]]


def scored(condenser, seed, *accuracies, groups=ALL, precision="fp32", store="float32", **config):
    made = {"terms": [{"weight": 1.0}], "iterations": 10, "real_dtype": "x" + precision}
    config = {"condenser": condenser, "seed": seed, "groups": groups} | made | config
    metadata = {"condenser": condenser, "config": config, "seed": seed, "precision": precision, "store": store}
    memory = Memory(torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 1, 1]), metadata)
    return Scored(Stored(Path(f"{condenser}-{seed}"), memory), accuracies)


def published(name, *accuracies):
    return Scored(Stored(Path(name), Memory(torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 1, 1]), {})), accuracies)


def test_memories_that_differ_in_their_seed_only_are_replicates():
    frame = table([scored("dm", 1, 0.2, 0.4), scored("dm", 2, 0.5, 0.5)])
    assert frame["memories"].tolist() == ["dm, 2 per class"]
    assert list(frame) == ["memories", "accuracy"]
    (found,) = frame["accuracy"]
    assert (found.n, found.mean) == (2, pytest.approx(0.4))


def test_memories_that_were_made_otherwise_are_never_averaged_with_them():
    others = {"precision": "bf16"}, {"iterations": 20}, {"terms": [{"weight": 2.0}]}
    frame = table([scored("dm", 1, 0.2), *(scored("dm", 1, 0.3, **other) for other in others)])
    assert [found.n for found in frame["accuracy"]] == [1] * 4
    assert frame["memories"].tolist() == [
        "dm, 2 per class, terms #1, iterations=10, precision=fp32",
        "dm, 2 per class, terms #1, iterations=10, precision=bf16",
        "dm, 2 per class, terms #1, iterations=20, precision=fp32",
        "dm, 2 per class, terms #2, iterations=10, precision=fp32",
    ]


def test_differences_are_paired_by_seed():
    first = [scored("random", seed, value) for seed, value in ((1, 0.1), (2, 0.3), (3, 0.9))]
    other = [scored("dm", seed, *values) for seed, values in ((3, (0.9, 1.0)), (1, (0.2, 0.3)), (4, (0.7,)))]
    frame = table(first + other)
    assert frame["above the first"][0] is None
    found = frame["above the first"][1]
    assert (found.n, found.mean) == (2, pytest.approx((0.05 + 0.15) / 2))
    expected = interval(frame_of([0.15, 0.05]))
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_a_network_without_a_number_is_not_left_out_of_a_difference():
    frame = table([scored("random", 1, 0.2), scored("dm", 1, 0.9, math.nan)])
    assert math.isnan(frame["above the first"][1].mean)


def frame_of(values):
    index = pd.MultiIndex.from_product([[0], range(len(values))], names=["class_order", "memory_replicate"])
    return pd.Series(values, index=index)


def test_other_classes_condensed_together_are_no_pair():
    apart = scored("dm", 1, 0.3, groups=[[[0], 2], [[1], 2]])
    frame = table([scored("random", 1, 0.2), apart])
    assert frame["above the first"].tolist() == [None, None]


def test_other_images_per_class_are_paired_by_seed():
    frame = table([scored("random", 1, 0.2), scored("dm", 1, 0.3, groups=[[[0, 1], 1]])])
    assert (frame["above the first"][1].n, frame["above the first"][1].mean) == (1, pytest.approx(0.1))


def test_a_file_named_twice_counts_once():
    (found,) = table([scored("dm", 1, 0.2), scored("dm", 1, 0.2), scored("dm", 2, 0.4)])["accuracy"]
    assert (found.n, found.mean) == (2, pytest.approx(0.3))


@pytest.mark.parametrize("make", [lambda: scored("dm", 1), lambda: published("a")])
def test_other_images_of_one_making_and_seed_are_refused(make):
    one, other = make().stored, make().stored
    check_makings([one, one, other, scored("dm", 2).stored])
    other.memory.images[0] = 1
    with pytest.raises(ValueError, match="hold other images"):
        check_makings([one, other])


def test_published_sets_are_told_by_their_names():
    frame = table([published("a", 0.2), published("b", 0.3), scored("dm", 1, 0.3)])
    assert frame["memories"].tolist() == ["a, 2 per class", "b, 2 per class", "dm, 2 per class"]


def test_rounding_of_the_real_branch_is_told_once():
    assert "real_dtype" not in making(scored("dm", 1, 0.3).stored)


def test_the_table_says_what_its_intervals_are():
    text = format_table(table([scored("dm", 1, 0.2), scored("dm", 2, 0.3), scored("ours", 1, 0.5)]), networks=1)
    assert "dm, 2 per class" in text
    assert "30.0 (n=1, no interval)" in text
    assert text.endswith("one network on each memory; differences are paired by seed")
    assert "league" not in text


def test_leagues_are_told_where_they_are_not_one():
    strict, open_league, unknown = scored("random", 1, 0.2), scored("dm", 1, 0.3), published("a", 0.2)
    for one, real in ((strict, False), (open_league, True)):
        one.stored.memory.metadata["trained_on_real"] = real
    frame = table([strict, open_league, unknown])
    assert frame["league"].tolist() == ["strict", "open", "not said"]
    assert "open league: networks trained on real images" in format_table(frame, networks=2)
    assert "league" not in table([strict, strict])
