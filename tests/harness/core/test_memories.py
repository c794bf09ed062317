"""Planning memories: what they take, and how far they are."""

import itertools
from dataclasses import replace

import pytest

from condensers.condense import Group
from condensers.core.recipe import Schedule
from harness.core import memories
from harness.core.memories import Plan, condensing
from harness.core.progress import Nested

STEPS = tuple(Group((2 * step, 2 * step + 1), 2) for step in range(5))
SCHEDULE = Schedule(10, 4, "ConvNet-W8-D2-IN-ReLU-Avg", "")


@pytest.fixture
def plan(digits, tmp_path):
    """Memories in five steps: of all classes at once by DM, step by step by a recipe that couples them."""
    own = {"seed": 1, "precision": "fp32", "store": "float32", "store_selections": "indices", "label": "test"}
    return Plan(("herding", "dm", "blockwise"), digits.name, digits.checksum, STEPS, SCHEDULE, folder=tmp_path, **own)


def test_an_iteration_counts_by_its_work(plan, digits):
    """DM's ten are of ten classes, each of the coupled recipe's fifty of two."""
    apart = [condensing(replace(plan, names=(name,)), digits).gflop for name in plan.names]
    assert condensing(plan, digits).gflop == pytest.approx(sum(apart))
    with memories.progress(plan, "condensing", digits) as advance:
        shown = Nested._open[-1]
        assert (shown.unit, shown.total, shown.worth) == ("0 of 60 it", pytest.approx(sum(apart)), shown.total)
        shares = []
        for _ in range(60):
            advance(1)
            shares.append(shown.n / shown.total)
        assert shown.unit == "60 of 60 it"
    # Which of the two goes first is the plan's business.
    dm, blockwise = apart[1], apart[2]
    steps = sorted({round(after - before, 9) for before, after in itertools.pairwise(shares)})
    assert steps[0] == pytest.approx(blockwise / 50 / sum(apart))
    assert pytest.approx(dm / 10 / sum(apart)) in steps
    assert shares[-1] == 1.0


def test_what_a_checkpoint_had_counts_at_once(plan, digits):
    with memories.progress(plan, "condensing", digits) as advance:
        advance(35)
        assert Nested._open[-1].unit == "35 of 60 it"
