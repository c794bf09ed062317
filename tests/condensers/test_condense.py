"""Long runs: killed and resumed, in groups, beside other runs in the same folder."""

import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from condensers import checkpoints, registry
from condensers.condense import Group, condense
from condensers.core.recipe import Recipe
from condensers.memory import check, load_memory, save_memory

from .long_run import CONDENSERS, GROUPS, SCHEDULE, SEED

ROOT = Path(__file__).parents[2]


def run(source, folder=None, schedule=SCHEDULE, condensers=CONDENSERS, groups=GROUPS):
    """The memories, and how many iterations each call of `progress` reported."""
    done = []
    return condense(condensers, source, groups, schedule, SEED, folder, done.append), done


def assert_same(made, expected):
    for name, memory in expected.items():
        assert torch.equal(made[name].images, memory.images), name
        assert torch.equal(made[name].labels, memory.labels)
        assert repeatable(made[name].metadata) == repeatable(memory.metadata)
        assert made[name].metadata["cost"]["seconds"] > 0


def repeatable(metadata):
    """All but what is measured: time and memory differ from run to run."""
    counted = {name: metadata["cost"][name] for name in ("recipes", "flop", "hidden_images")}
    return metadata | {"cost": counted}


@pytest.fixture(scope="module")
def uninterrupted(digits):
    return run(digits.train)[0]


def kill_after(folder, iterations):
    """Start the same run in a process of its own, and kill it without warning after so many iterations."""
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("long_run.py"), folder, str(torch.get_num_threads())],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    seen = 0
    while seen < iterations:
        seen += int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    assert "finished" not in process.communicate()[0]
    assert process.returncode == -signal.SIGKILL


def test_a_killed_run_goes_on_to_the_same_bits(digits, uninterrupted, tmp_path):
    kill_after(tmp_path, 20)
    made, done = run(digits.train, tmp_path)
    assert_same(made, uninterrupted)
    assert 19 <= done[0] < 100
    assert sum(done) == 200
    assert list(tmp_path.iterdir()) == []


def test_a_kill_in_a_later_group_costs_nothing_of_the_earlier(digits, uninterrupted, tmp_path):
    kill_after(tmp_path, 120)
    made, done = run(digits.train, tmp_path)
    assert_same(made, uninterrupted)
    assert done[0] == 100
    assert 19 <= done[1] < 100
    assert sum(done) == 200
    assert list(tmp_path.iterdir()) == []


class Stopped(Exception):
    """As a user's interrupt would, between two iterations."""


SHORT = replace(SCHEDULE, iterations=12)


@pytest.fixture(scope="module")
def short(digits):
    return run(digits.train, None, SHORT)[0]


@pytest.fixture(scope="module")
def stopped(digits, tmp_path_factory):
    """The checkpoint of a short run that was stopped in its first group."""
    folder, done = tmp_path_factory.mktemp("stopped"), []

    def stop(iterations):
        done.append(iterations)
        if len(done) > 6:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0)
        with pytest.raises(Stopped):
            condense(CONDENSERS, digits.train, GROUPS, SHORT, SEED, folder, stop)
    (path,) = folder.iterdir()
    return path


@pytest.fixture
def left(stopped, tmp_path):
    """That checkpoint in a folder of the test's own."""
    return Path(shutil.copy(stopped, tmp_path))


def _drop(name):
    return lambda path: save_file({k: v for k, v in load_file(path).items() if k != name}, path)


def _reshape(name):
    return lambda path: save_file({k: v[:1].clone() if k == name else v for k, v in load_file(path).items()}, path)


def _change(name, value):
    def damage(path):
        tensors = load_file(path)
        tensors[name].view(-1)[7] = value
        save_file(tensors, path)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:500]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no such format" * 100),
        _drop("iteration"),
        _drop("pixels/ours"),
        _drop("momentum_buffer/ours"),
        _reshape("pixels/ours"),
        _reshape("momentum_buffer/dm+ridge"),
        _change("pixels/ours", math.nan),
        _change("momentum_buffer/ours", 0.125),
    ],
)
def test_a_damaged_checkpoint_counts_as_none_with_a_warning(digits, short, left, tmp_path, damage):
    damage(left)
    with pytest.warns(UserWarning, match=rf"^the checkpoint {left} is damaged and deleted: its run begins again$"):
        made, done = run(digits.train, tmp_path, SHORT)
    assert done[0] == 0
    assert_same(made, short)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_read_now_is_kept(digits, left, tmp_path):
    """On a shared file system it may be readable a moment later."""
    left.unlink()
    left.mkdir()
    with pytest.raises(ValueError, match=rf"^cannot read {left}: Is a directory"):
        run(digits.train, tmp_path, SHORT)
    assert left.exists()


@pytest.mark.usefixtures("left")
def test_a_checkpoint_stays_until_its_memories_are_kept(digits, left, tmp_path):
    """A disk may be full when hours of work are to be written."""

    def full(made):
        assert set(made) == {condenser.name for condenser in CONDENSERS}
        raise Stopped

    with pytest.raises(Stopped):
        condense(CONDENSERS, digits.train, GROUPS, SHORT, SEED, tmp_path, save=full)
    assert left.exists()
    _, done = run(digits.train, tmp_path, SHORT)
    assert done[0] == SHORT.iterations
    assert list(tmp_path.iterdir()) == []


def test_a_schedule_that_the_last_condenser_cannot_run_by_is_refused_before_work(digits):
    done, rounded = [], replace(SHORT, real_dtype="bfloat16")
    with pytest.raises(ValueError, match=r"^dc computes in float32 only"):
        condense([*CONDENSERS, registry.condenser("dc")], digits.train, GROUPS, rounded, SEED, progress=done.append)
    assert done == []


@pytest.mark.usefixtures("left")
def test_an_undamaged_checkpoint_is_used(digits, short, tmp_path):
    made, done = run(digits.train, tmp_path, SHORT)
    assert done[0] == 5
    assert_same(made, short)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["schedule", "split", "recipes"])
def test_another_run_in_the_same_folder_starts_afresh(digits, left, tmp_path, what):
    # The split has as many classes of the same shape under the same seed: only its images tell.
    source = digits.hold_out(20).train if what == "split" else digits.train
    schedule = replace(SHORT, iterations=13) if what == "schedule" else SHORT
    condensers = CONDENSERS[1:] if what == "recipes" else CONDENSERS
    made, done = run(source, tmp_path, schedule, condensers)
    assert done[0] == 0
    assert_same(made, run(source, None, schedule, condensers)[0])
    assert list(tmp_path.iterdir()) == [left]


def test_nothing_is_written_within_the_first_minute_of_a_group(digits, tmp_path, monkeypatch):
    one = [GROUPS[0]]
    written = []
    condense(CONDENSERS, digits.train, one, SHORT, SEED, tmp_path, lambda _: written.extend(tmp_path.iterdir()))
    assert written == []


def test_groups_differ_in_size_and_do_not_see_each_other(digits, short, tmp_path):
    alone, done = run(digits.train, None, SHORT, groups=GROUPS[1:])
    assert sum(done) == 12
    for name, memory in short.items():
        assert memory.labels.tolist() == [4, 4, 4, 1, 1, 1, 7, 7, 7, 0, 0, 9, 9]
        assert torch.equal(memory.of_classes([0, 9]).images, alone[name].images), name
        check(memory)
        save_memory(memory, tmp_path / "memory.safetensors")
        assert load_memory(tmp_path / "memory.safetensors").checksum == memory.checksum
        assert memory.metadata["config"]["groups"] == [[[4, 1, 7], 3], [[0, 9], 2]]


def test_the_order_of_condensers_and_their_company_change_nothing(digits, short):
    for chosen in (CONDENSERS[::-1], CONDENSERS[:1]):
        for name, memory in run(digits.train, None, SHORT, chosen)[0].items():
            assert torch.equal(memory.images, short[name].images)


def test_no_iterations_leave_the_first_images(digits):
    made, _ = run(digits.train, None, replace(SCHEDULE, iterations=0))
    for memory in made.values():
        assert torch.equal(memory.images, made["random"].images)


def test_classes_may_share_a_group_in_any_order(digits):
    # Draws are named by class, not by place.
    forward, _ = run(digits.train, None, SHORT, CONDENSERS[:1], [Group((2, 5, 8), 2)])
    backward, _ = run(digits.train, None, SHORT, CONDENSERS[:1], [Group((8, 5, 2), 2)])
    for label in (2, 5, 8):
        a, b = (made["ours"].of_classes([label]).images for made in (forward, backward))
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_too_few_images_to_decode_are_said_before_any_recipe_has_run(digits):
    done, both = [], [registry.condenser(name) for name in ("dm", "m3d")]
    said = r"^40 images per class asked for, each from 4 real ones, but the smallest class has 13\d: give 1 to 3\d$"
    with pytest.raises(ValueError, match=said):
        condense(both, digits.train, [Group((0, 1), 40)], SCHEDULE, SEED, progress=done.append)
    assert not done


@pytest.mark.parametrize("name", ["random", "dm"])
def test_a_condenser_or_a_class_that_comes_twice_is_refused(digits, name):
    own = registry.condenser(name)
    with pytest.raises(ValueError, match=rf"^the condenser '{name}' is given 2 times"):
        condense([own, own], digits.train, [Group((1, 2), 2)], SCHEDULE, SEED)
    with pytest.raises(ValueError, match=r"^the class 1 is given 2 times"):
        condense([own], digits.train, [Group((1, 2), 2), Group((1,), 2)], SCHEDULE, SEED)


def test_a_recipe_without_terms_is_refused(digits):
    with pytest.raises(ValueError, match=r"^empty has no terms"):
        condense([Recipe("empty", ())], digits.train, [Group((1, 2), 2)], SCHEDULE, SEED)


@pytest.mark.parametrize("views", [-2, 1, 3])
def test_an_odd_or_negative_number_of_views_is_refused(views):
    with pytest.raises(ValueError, match=rf"^dm has {views!r} views: give an even number, or 0 for none$"):
        replace(registry.condenser("dm"), views=views)


@pytest.mark.parametrize("forbidding", [{"shares_augmentation": True}, {"augments": False}])
def test_views_that_cannot_be_augmented_each_on_its_own_are_refused(forbidding):
    with pytest.raises(ValueError, match=r"^dm has views: leave out shares_augmentation and augments$"):
        replace(registry.condenser("dm"), views=2, **forbidding)


def test_views_without_an_augmentation_are_refused(digits):
    plain = replace(SHORT, augmentation="")
    with pytest.raises(ValueError, match=r"^readout-views has views: give the schedule an augmentation$"):
        condense([registry.condenser("readout-views")], digits.train, GROUPS, plain, SEED)


def test_the_number_of_views_is_work_and_part_of_the_key(digits):
    recipes = [replace(registry.condenser("dm"), name=f"dm-{views}", views=views) for views in (0, 2, 4)]
    made = condense(recipes, digits.train, [Group((1, 2), 2)], SCHEDULE, SEED).values()
    assert [memory.metadata["config"].get("views", 0) for memory in made] == [0, 2, 4]
    assert len({memory.checksum for memory in made}) == 3
    none, two, four = (memory.metadata["cost"]["flop"] for memory in made)
    assert none < two < four
