"""Classes shared out to ranks: whole chunks, the same bits as one process, and no recipe that does not allow it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch

from condensers.condense import Group
from condensers.core.matching import Matching
from condensers.core.recipe import Schedule
from condensers.memory import load_memory
from condensers.registry import condenser
from condensers.sharding import ALONE, check_separable, cut, joined

from .sharded_run import ALL, CASES, ITERATIONS, sources

ROOT = Path(__file__).parents[2]
SCHEDULE = Schedule(iterations=1, real_batch=8, network="ConvNet-W4-D2", augmentation="", chunk=8)


def run_ranks(folder, device, ranks):
    """Every case on so many ranks; the iterations that each rank did."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    subprocess.run(
        [*torchrun, Path(__file__).with_name("sharded_run.py"), folder, device],
        # Ranks on CUDA would otherwise round to TF32, which this process does not.
        env=os.environ | {"PYTHONPATH": str(ROOT), "NVIDIA_TF32_OVERRIDE": "0"},
        check=True,
        timeout=300,
    )
    return [json.loads((folder / str(rank)).read_text()) for rank in range(ranks)]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two ranks")
    return folder, run_ranks(folder, "cpu", 2)


@pytest.fixture(scope="module")
def found():
    return sources("cpu")


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_give_the_bits_of_one(two_ranks, found, name):
    folder, case = two_ranks[0], CASES[name]
    for condenser_name, expected in case.condense(found[case.source]).items():
        made = load_memory(folder / f"{name} {condenser_name}.safetensors")
        assert torch.equal(made.images, expected.images), condenser_name
        assert torch.equal(made.labels, expected.labels)
        # Time and memory are measured, and are another run's.
        costs = [metadata.pop("cost") for metadata in (made.metadata, expected.metadata)]
        assert made.metadata.items() >= expected.metadata.items()
        assert costs[0]["flop"] == costs[1]["flop"]


@pytest.mark.parametrize("name", CASES)
def test_each_rank_condenses_its_share_and_no_more(two_ranks, found, name):
    case = CASES[name]
    for rank, done in enumerate(two_ranks[1]):
        assert done[name] == (ITERATIONS * len(case.groups) if case.shares[rank] else 0)
    schedule = replace(SCHEDULE, chunk=case.chunk, real_batch=case.real_batch)
    for classes in case.groups:
        shares = cut(found[case.source], Group(classes, case.ipc), schedule, 2, [condenser("dm")])
        assert tuple(len(share) for share in shares) == case.shares
        assert sum(shares, ()) == classes


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are read from Linux's /proc")
def test_no_thread_of_the_process_group_outlives_it(two_ranks):
    # One that still lives when Python ends may abort the process, which has happened.
    for rank in range(2):
        names = json.loads((two_ranks[0] / f"threads {rank}").read_text())
        assert names
        assert not [name for name in names if "gloo" in name]


def chunks_of(matching, synthetic):
    """Classes that go through a network together, on the real and on the synthetic side of so many decoded images."""
    labels = matching.classes.tolist()
    return [[labels[part] for part in matching._chunks(images)] for images in (matching.batch, synthetic)]


@pytest.mark.parametrize("ranks", [2, 3, 10, 16])
@pytest.mark.parametrize("ipc", [1, 3, 8, 10])
@pytest.mark.parametrize("chunk", [1, 8, 9, 20, 40, 2000])
@pytest.mark.parametrize(("name", "views"), [("dm", 0), ("dm", 2), ("m3d", 0)])
def test_no_chunk_is_parted(digits, ranks, ipc, chunk, name, views):
    recipes = [replace(condenser(name), views=views)]
    schedule = replace(SCHEDULE, chunk=chunk, views=views, augmentation="crop" if views else "")
    shares = cut(digits.train, Group(ALL, ipc), schedule, ranks, recipes)
    assert len(shares) == ranks
    assert sum(shares, ()) == ALL
    assert shares[0]
    images = ipc * recipes[0].decoded * max(1, views)
    whole = chunks_of(Matching(digits.train, ALL, ipc, recipes, schedule, 0), images)
    parts = [chunks_of(Matching(digits.train, x, ipc, recipes, schedule, 0), images) for x in shares if x]
    assert [list(chain(*side)) for side in zip(*parts, strict=True)] == whole


def test_elsewhere_than_on_a_cpu_every_class_may_be_a_share(digits):
    source = replace(digits.train, images=digits.train.images.to("meta"))
    shares = cut(source, Group(ALL, 3), replace(SCHEDULE, chunk=2000), 4, [condenser("dm")])
    assert [len(share) for share in shares] == [2, 3, 2, 3]


def test_a_class_without_images_is_refused_only_if_asked_for(digits):
    few = digits.train.of_classes(list(ALL[:9]))
    assert [len(share) for share in cut(few, Group(ALL[:9], 3), SCHEDULE, 2, [condenser("dm")])] == [4, 5]
    allowed = r"1\d\d: give 1 to 1\d\d"
    for classes, ipc, smallest in ((ALL[:9], 10_000, allowed), (ALL[:9], 0, allowed), (ALL, 3, "0")):
        words = f"^{ipc} images per class asked for, but the smallest class has {smallest}$"
        with pytest.raises(ValueError, match=words):
            cut(few, Group(classes, ipc), SCHEDULE, 2, [condenser("dm")])


@pytest.mark.parametrize(
    ("name", "network", "words"),
    [
        ("dm+ridge", "ConvNet-W4-D2", "it couples them"),
        ("dm", "ConvNet-W4-D2-BN", "ConvNet-W4-D2-BN normalises over the images of all"),
    ],
)
def test_what_does_not_separate_is_refused_with_the_reason(name, network, words):
    schedule = replace(SCHEDULE, network=network)
    with pytest.raises(ValueError, match=words) as caught:
        check_separable([condenser("herding-trained"), condenser(name)], schedule)
    assert str(caught.value).startswith(f"{name} cannot")
    assert len(str(caught.value).splitlines()) == 1
    check_separable([condenser("herding-trained"), condenser("ours")], SCHEDULE)


def test_without_torchrun_a_process_is_alone():
    with joined() as ranks:
        assert ranks is ALONE
        assert ranks.leads
        assert ranks.agree([1]) == [1]
        assert ranks.comes_first("x")
    assert not torch.distributed.is_initialized()


@pytest.mark.cuda
def test_ranks_on_cuda_give_what_one_gives(tmp_path):
    run_ranks(tmp_path, "cuda", min(2, torch.cuda.device_count()))
    found = sources("cuda")
    for name, case in CASES.items():
        for condenser_name, expected in case.condense(found[case.source]).items():
            made = load_memory(tmp_path / f"{name} {condenser_name}.safetensors")
            torch.testing.assert_close(made.images, expected.images.cpu(), rtol=1e-3, atol=1e-3)
