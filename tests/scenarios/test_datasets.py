"""What every data set is: splits, statistics, checksums, names.

Real data is used where the environment variable CONDENSED_DATA_ROOT points to it.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.evidence.published import CHECKSUMS, SPLIT, SPLITS
from scenarios import datasets, files
from scenarios.datasets import DATASETS, load

from .on_disk import complaint

REAL_ROOT = os.environ.get("CONDENSED_DATA_ROOT")


# --- what every data set is


@pytest.fixture(scope="module")
def digits():
    return load("digits", Path("unused"))


def test_digits_are_scikit_learns_with_a_fixed_split(digits):
    from sklearn.datasets import load_digits

    bundled = load_digits()
    zeros = bundled.images[bundled.target == 0]
    assert digits.classes == 10
    assert digits.shape == (1, 8, 8)
    assert (len(digits.train), len(digits.test)) == (1352, 445)
    assert digits.train.images.dtype == torch.uint8
    assert digits.train.labels.dtype == torch.int64
    expected = torch.from_numpy(np.round(zeros[[3, 7]] * 255 / 16 + 1e-9)).byte().unsqueeze(1)
    assert torch.equal(digits.test.images[digits.test.labels == 0][:2], expected)
    assert digits.train.images.max() == 255
    assert digits.checksum == "e08a079bf97a983c"  # the same on every machine and version


def test_digits_constants_are_the_train_split_statistics(digits):
    pixels = digits.train.images.double() / 255
    assert digits.train.mean == pytest.approx([pixels.mean().item()], abs=5e-5)
    assert digits.train.std == pytest.approx([pixels.std(correction=0).item()], abs=5e-5)
    assert digits.test.mean == digits.train.mean
    assert digits.train.normalise(digits.train.images).std().item() == pytest.approx(1, abs=1e-3)


def test_the_checksum_of_an_added_data_set_holds_its_normalisation():
    code = (
        "from dataclasses import replace; from pathlib import Path; from scenarios import datasets; "
        "digits = datasets.DATASETS['digits']; datasets.add({'mine': digits, 'other': "
        "replace(digits, normalisation=((0.5,), (0.5,)))}); "
        "found = [datasets.load(name, Path()) for name in ('digits', 'mine', 'other')]; "
        "print(*(one.checksum for one in found), *(one.hold_out(3).checksum for one in found))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(set(ran.stdout.split())) == 6


def test_no_flip_where_a_mirror_image_is_another_class():
    flips = {name: "flip" in source.augmentation.split("_") for name, source in DATASETS.items()}
    assert [name for name, flip in flips.items() if not flip] == ["digits", "svhn"]


def test_every_source_has_a_one_line_description():
    assert all(source.description and "\n" not in source.description for source in DATASETS.values())


def test_resolution_resizes_images_and_only_images(digits):
    larger = load("digits", Path("unused"), 16)
    assert larger.shape == (1, 16, 16)
    assert torch.equal(larger.train.labels, digits.train.labels)
    before, after = (data.train.images.float().mean().item() for data in (digits, larger))
    assert after == pytest.approx(before, rel=0.02)
    assert larger.checksum != digits.checksum


def test_to_moves_both_splits(digits):
    moved = digits.to("meta")
    assert moved.train.images.device.type == moved.test.labels.device.type == "meta"
    assert moved.checksum == digits.checksum


def test_importing_is_cheap():
    heavy = "{'torchvision', 'sklearn', 'scipy', 'PIL'}"
    code = f"import sys, scenarios.datasets; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- validation split


def test_hold_out_moves_training_images_and_forgets_the_test_set(digits):
    split = digits.hold_out(20)
    kept, held = digits.hold_out_index(20)
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(len(digits.train)))
    assert torch.equal(split.train.images, digits.train.images[kept])
    assert torch.equal(split.test.images, digits.train.images[held])
    assert torch.equal(split.test.labels, digits.train.labels[held])
    assert split.test.labels.bincount().tolist() == [20] * 10
    assert (split.name, split.train.mean) == (digits.name, digits.train.mean)


def test_hold_out_is_the_same_everywhere_and_nested(digits):
    assert digits.hold_out(20).checksum == digits.hold_out(20).checksum == "ead83e72d6f0962e"
    assert digits.hold_out(20).checksum != digits.checksum
    _, small = digits.hold_out_index(5)
    _, large = digits.hold_out_index(20)
    assert torch.isin(small, large).all()
    # A shuffle, not the tail of the file.
    assert large[digits.train.labels[large] == 0].float().mean() < 0.75 * len(digits.train)


@pytest.mark.parametrize("per_class", [-1, 0, 131, 1000])
def test_hold_out_must_leave_every_class_a_training_image(digits, per_class):
    with pytest.raises(ValueError, match=rf"cannot hold out {per_class} .* fewer than the 131 .* '8'"):
        digits.hold_out(per_class)


def test_hold_out_can_leave_a_single_training_image(digits):
    assert digits.hold_out(130).train.labels.bincount().min() == 1


# --- names


@pytest.mark.parametrize("name", ["CIFAR10", "cifar-10"])
def test_unknown_name_gets_a_hint_and_the_choices(tmp_path, name):
    assert f"unknown data set {name!r}. Did you mean 'cifar10'?" in complaint(name, tmp_path)
    assert all(choice in complaint(name, tmp_path) for choice in DATASETS)


@pytest.mark.parametrize("name", ["folder", "folder:", "digits:x"])
def test_a_path_goes_with_folder_and_folder_with_a_path(tmp_path, name):
    assert "unknown data set" in complaint(name, tmp_path)


@pytest.mark.parametrize("resolution", [0, -8])
def test_resolution_must_be_positive(tmp_path, resolution):
    assert f"resolution is {resolution}" in complaint("digits", tmp_path, resolution)


# --- real data, where there is some


@pytest.mark.skipif(not REAL_ROOT, reason="CONDENSED_DATA_ROOT is not set")
@pytest.mark.parametrize(("name", "checksum"), CHECKSUMS.items())
def test_real_cifar_is_the_published_one(name, checksum):
    data = load(name, Path(REAL_ROOT))
    assert (len(data.train), len(data.test), data.shape) == (50_000, 10_000, (3, 32, 32))
    assert data.train.labels.bincount().tolist() == [50_000 // data.classes] * data.classes
    assert data.train.mean == pytest.approx(datasets._normalisation(data.train.images)[0], abs=5e-4)
    assert data.checksum == checksum
    if name in SPLITS:
        assert data.hold_out(SPLIT).checksum == SPLITS[name]


@pytest.mark.skipif(not REAL_ROOT, reason="CONDENSED_DATA_ROOT is not set")
def test_class_names_are_those_of_the_real_files():
    from torchvision.datasets import CIFAR100

    if not (Path(REAL_ROOT) / CIFAR100.base_folder).is_dir():
        pytest.skip("no pickled CIFAR-100 there")
    assert list(files.CIFAR100.class_names) == CIFAR100(REAL_ROOT, train=False).classes
