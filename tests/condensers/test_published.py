"""Condensed sets of other projects: read where they are tensors and numbers, refused where they are more."""

import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from condensers.memory import load_memory, save_memory
from condensers.published import doubt, import_published, renormalise


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.pt"


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8)


LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def complaint(path, replicate=0):
    with pytest.raises(ValueError, match=r"\S") as caught:
        import_published(path, replicate)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("layout", ["data", "dictionary", "pair", "list", "sets"])
def test_the_known_layouts(images, tmp_path, layout):
    path = tmp_path / "set.pt"
    content = {
        "data": {"data": [[images, LABELS]], "accs_all_exps": {"ConvNet": [np.float64(48.9), np.mean([1.0, 2.0])]}},
        "dictionary": {"images": images, "labels": LABELS},
        "pair": (images, LABELS),
        "list": [images, LABELS],
        "sets": [[images, LABELS], [images + 1, LABELS]],
    }[layout]
    torch.save(content, path)
    memory = import_published(path)
    assert torch.equal(memory.images, images)
    assert torch.equal(memory.labels, LABELS)
    assert memory.metadata == {"imported_from": "set.pt"}


def test_pixels_that_were_being_trained_and_other_types(images, tmp_path):
    path = tmp_path / "set.pt"
    torch.save((images.double().requires_grad_(), LABELS.int()), path)
    memory = import_published(path)
    assert (memory.images.dtype, memory.labels.dtype) == (torch.float32, torch.int64)
    assert not memory.images.requires_grad


def test_one_of_several_sets(images, tmp_path):
    path = tmp_path / "set.pt"
    torch.save({"data": [[images, LABELS], [images + 1, LABELS]]}, path)
    assert torch.equal(import_published(path, 1).images, images + 1)
    assert "set.pt" in complaint(path, 2)
    assert "no set -1" in complaint(path, -1)


def test_a_file_of_one_set_has_no_second(images, tmp_path):
    path = tmp_path / "set.pt"
    for content in ((images, LABELS), {"images": images, "labels": LABELS}, images):
        torch.save(content, path)
        assert "no set 1" in complaint(path, 1)


def test_a_pickle_never_runs(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    path = tmp_path / "set.pt"
    torch.save({"data": Bomb()}, path)
    assert "holds more than tensors" in complaint(path)
    assert not (tmp_path / "exploded").exists()


def test_what_is_not_a_condensed_set(images, tmp_path):
    path = tmp_path / "set.pt"
    assert "set.pt" in complaint(path)
    for content in (
        3,
        {},
        {"images": images},
        [images],
        {"data": []},
        (images * float("nan"), LABELS),
        (images[:5], LABELS[:5]),
    ):
        torch.save(content, path)
        complaint(path)
    path.write_bytes(b"")
    complaint(path)
    torch.save((images, LABELS), path)
    path.write_bytes(path.read_bytes()[:300])
    complaint(path)


def test_images_and_labels_in_two_files(images, tmp_path):
    torch.save(images, tmp_path / "images_best.pt")
    assert "there must be labels beside" in complaint(tmp_path / "images_best.pt")
    torch.save(LABELS, tmp_path / "labels_best.pt")
    assert torch.equal(import_published(tmp_path / "images_best.pt").labels, LABELS)


SOFT = torch.tensor([[0.8, 0.1, 0.1], [0.6, 0.4, 0.0], [0.1, 0.7, 0.2], [0.2, 0.6, 0.2], [0, 0, 1.0], [0, 0.3, 0.7]])


def test_soft_labels_are_kept_beside_the_classes(images, path):
    torch.save([images, SOFT.double()], path)
    memory = import_published(path)
    assert torch.equal(memory.labels, LABELS)
    assert torch.equal(memory.targets, SOFT)
    assert memory.metadata["trained_on_real"]  # open league
    assert torch.equal(memory.of_classes([0, 2]).targets, SOFT[[0, 1, 4, 5]])
    assert memory.checksum != replace(memory, soft_labels=None).checksum
    save_memory(memory, path.with_suffix(".safetensors"))
    assert torch.equal(load_memory(path.with_suffix(".safetensors")).targets, SOFT)


def test_one_hot_labels_are_classes(images, path):
    torch.save((images, torch.nn.functional.one_hot(LABELS).float()), path)
    memory = import_published(path)
    assert torch.equal(memory.labels, LABELS)
    assert memory.soft_labels is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images, labels: (images, 5 * SOFT - 1), "no probabilities"),
        (lambda images, labels: (images, labels + 0.5), "fractions, no classes"),
        (lambda images, labels: (images, labels * float("nan")), "fractions, no classes"),
        (lambda images, labels: (images, labels + 1j), "labels are complex64"),
        (lambda images, labels: (images + 1j, labels), "images are complex64"),
        (lambda images, labels: (images > 0, labels), "images are bool"),
        (lambda images, labels: (images.to_sparse(), labels), "must be a dense tensor"),
        (lambda images, labels: (images.to("meta"), labels), "images are"),
        (lambda images, labels: (images[0], labels), r"of shape [3, 8, 8]"),
        (lambda images, labels: ("images", labels), "in a layout that is read"),
        (lambda images, labels: (images, labels[:, None, None]), "labels are of shape [6, 1, 1]"),
        (lambda images, labels: (images[:1, :1, :1, :1].expand(6, 3, 10**5, 10**4), labels), "an expanded view"),
    ],
)
def test_anything_else_is_refused_by_name(images, path, change, words):
    torch.save(change(images, LABELS), path)
    assert words in complaint(path)


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/data.pkl", bytes(10**7))
    assert "it unpacks to 10000000 bytes" in complaint(path)


def test_pixels_normalised_otherwise_are_doubted_and_mended(digits, path):
    raw, labels = digits.train.images[:30].float() / 255, torch.arange(10).repeat(3)
    ours = digits.train.normalise(digits.train.images[:30])
    for pixels, mean, std in ((raw, [0.0], [1.0]), (255 * raw, [0.0], [1 / 255]), ((raw - 0.5) / 0.01, [0.5], [0.01])):
        torch.save((pixels, labels), path)
        memory = import_published(path)
        assert "say how they were normalised with --mean and --std" in doubt(memory, digits.train)
        mended = renormalise(memory, mean, std, digits.train)
        assert doubt(mended, digits.train) is None
        assert torch.allclose(mended.images, ours, atol=1e-5)
    assert doubt(replace(memory, images=2 * ours), digits.train) is None
    for mean, std in (([0.0, 0.0], [1.0]), ([0.0], [0.0]), ([float("nan")], [1.0]), ([], [])):
        with pytest.raises(ValueError, match="means"):
            renormalise(memory, mean, std, digits.train)
