"""Planning memories: what they take, and how far they are."""

import itertools
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from condensers.condense import Group
from condensers.core.recipe import Schedule
from condensers.device.files import LONGEST_NAME, MOST_BYTES, atomic_write
from harness.core.memories import Plan, _progress
from harness.core.progress import Nested
from harness.core.records import Records
from harness.core.schema import ScoreRow

STEPS = tuple(Group((2 * step, 2 * step + 1), 2) for step in range(5))
SCHEDULE = Schedule(10, 4, "ConvNet-W8-D2-IN-ReLU-Avg", "")


@pytest.fixture
def plan(digits, tmp_path):
    """Memories in five steps: of all classes at once by DM, step by step by a recipe that couples them."""
    own = {"seed": 1, "precision": "fp32", "store": "float32", "store_selections": "indices", "label": "test"}
    own |= {"device": torch.device("cpu"), "folder": tmp_path}
    return Plan(("herding", "dm", "blockwise"), digits, STEPS, SCHEDULE, **own)


def test_an_iteration_counts_by_its_work(plan):
    """DM's ten are of ten classes, each of the coupled recipe's fifty of two."""
    apart = [replace(plan, names=(name,)).work().gflop for name in plan.names]
    assert plan.work().gflop == pytest.approx(sum(apart))
    with _progress(plan) as advance:
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


def test_what_a_checkpoint_had_counts_at_once(plan):
    with _progress(plan) as advance:
        advance(35)
        assert Nested._open[-1].unit == "35 of 60 it"


def test_a_name_fits_into_that_of_a_file_or_is_refused_before_any_work(plan, digits):
    """Up to the last byte: what is written first has a longer name than the file in the end."""
    beside = len(replace(plan, names=("dm",)).path("dm").name.encode()) - len("dm")
    longest = "dm" + "+ridge:" + "0" * (LONGEST_NAME - beside - len("dm+ridge:1")) + "1"
    path = replace(plan, names=(longest,)).path(longest)
    assert len(path.name) == LONGEST_NAME
    atomic_write(path, b"")
    assert path.exists()
    with pytest.raises(OSError, match="too long"):
        path.with_name(f"{'x' * (MOST_BYTES + 1)}").exists()
    said = rf"^the name 'dm\+ridge:00000000000' \.\.\. has {len(longest) + 1} bytes, .* of at most {len(longest)}, as a"
    with pytest.raises(ValueError, match=said):
        replace(plan, names=("dm", longest + "1"))


def test_commands_of_other_condensers_do_not_make_a_memory_that_one_of_them_is_making(plan, tmp_path):
    records = Records(tmp_path / "results.csv", ScoreRow)
    own, more = replace(plan, names=("dm",)), replace(plan, names=("random", "dm"))
    made = []

    @contextmanager
    def claim(memory):
        with records.claim(memory) as mine:
            # The other command comes while this one works.
            made.append(more.make(records.claim, {}))
            assert not list(plan.folder.glob("random-*"))
            yield mine

    assert own.make(claim, {})
    assert made == [False]
    assert more.make(records.claim, {})
    assert more.missing() == []


def test_the_key_holds_the_schedule_of_every_group(plan):
    """Under a total budget groups have several sizes, and a flag that was given decides those of them all."""
    sizes = (Group((0, 1), 3), Group((2, 3), 1))
    free = replace(plan, names=("idm",), groups=sizes, schedule=replace(plan.schedule, real_batch=256))
    given = replace(free, schedule=replace(free.schedule, given=frozenset({"real_batch"})))
    assert free.key("idm") != given.key("idm")
    alike = replace(free, groups=(Group((0, 1), 3), Group((2, 3), 3)))
    assert "each group" not in alike.config("idm")
