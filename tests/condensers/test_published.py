"""Condensed sets of other projects: read where they are tensors and numbers, refused where they are more."""

import os

import numpy as np
import pytest
import torch

from condensers.published import import_published


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8)


LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def complaint(path, replicate=0):
    with pytest.raises(ValueError, match=r"\S") as caught:
        import_published(path, replicate)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("layout", ["data", "dictionary", "pair", "list"])
def test_the_known_layouts(images, tmp_path, layout):
    path = tmp_path / "set.pt"
    content = {
        "data": {"data": [[images, LABELS]], "accs_all_exps": {"ConvNet": [np.float64(48.9), np.mean([1.0, 2.0])]}},
        "dictionary": {"images": images, "labels": LABELS},
        "pair": (images, LABELS),
        "list": [images, LABELS],
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
