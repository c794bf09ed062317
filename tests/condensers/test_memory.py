"""The memory file: what is read is what was written, and whatever else lies there is one line."""

import json
import os
import pickle
import resource
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from condensers.device.files import atomic_write
from condensers.device.images import LabelledImages
from condensers.memory import (
    STORES,
    Memory,
    check,
    check_fits,
    check_origin,
    join,
    load_memory,
    read_metadata,
    save_memory,
)


@pytest.fixture(scope="module")
def real(digits):
    """Three real images of each of four classes, not in class order, with their indices."""
    labels = digits.train.labels
    chosen = torch.cat([(labels == label).nonzero()[2:5, 0] for label in (3, 0, 7, 1)])[
        [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    ]
    images = digits.train.normalise(digits.train.images[chosen])
    return Memory(images, labels[chosen], {"condenser": "random", "config": {"groups": [[[3, 0, 7, 1], 3]]}}, chosen)


@pytest.fixture(scope="module")
def made():
    """Unclamped float images of 3x16x16, one of them constant."""
    images = 3 * torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images[5] = -1.7
    return Memory(images, torch.tensor([0, 0, 1, 1, 5, 5, 2, 2]), {"condenser": "dm", "seed": 3})


def complaint(path, source=None):
    with pytest.raises(ValueError, match=r"\S") as caught:
        load_memory(path, source)
    assert len(str(caught.value).splitlines()) == 1
    assert path.name in str(caught.value)
    return str(caught.value)


def rewrite(path, tensors=lambda x: x, header=lambda x: x):
    """Change what is in a memory file, keeping it a good safetensors file."""
    with safe_open(path, "pt") as file:
        found, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(tensors(found), path, header(metadata))


@pytest.mark.parametrize("store", STORES)
def test_round_trip_of_real_images(real, digits, tmp_path, store):
    path = tmp_path / "folder" / "memory.safetensors"
    save_memory(real, path, store)
    read = load_memory(path, digits.train)
    assert torch.equal(read.labels, real.labels)
    assert torch.equal(read.indices, real.indices)
    assert read.metadata.items() >= real.metadata.items()
    assert read.metadata["store"] == store
    assert read.metadata["checksum"] == read.checksum == real.stored_as(store, digits.train).checksum
    if store in ("float32", "indices"):
        assert torch.equal(read.images, real.images)
    assert read_metadata(path) == read.metadata


@pytest.mark.parametrize(("store", "size"), [("float32", 4), ("float16", 2), ("uint8", 1)])
def test_round_trip_of_made_images(made, tmp_path, store, size):
    path = tmp_path / "memory.safetensors"
    save_memory(made, path, store)
    read = load_memory(path)
    error, extent = (read.images - made.images).abs().flatten(1), made.images.flatten(1)
    if store == "float32":
        assert torch.equal(read.images, made.images)
    elif store == "float16":
        assert (error <= extent.abs() * 2**-11 + 1e-7).all()
    else:
        half_level = (extent.amax(1) - extent.amin(1)) / 255 / 2
        assert (error <= half_level[:, None] * 1.0001 + 1e-6).all()
        assert torch.equal(read.images[5], made.images[5])
    assert torch.equal(read.images, made.stored_as(store).images)
    pixels = made.images.numel() * size
    extra = 2 * 4 * len(made) if store == "uint8" else 0
    assert read.metadata["stored_bytes"] == pixels + extra + 8 * len(made)
    assert read.indices is None


def test_only_real_images_are_stored_as_indices(made, real, tmp_path):
    with pytest.raises(ValueError, match="only memories of real images"):
        save_memory(made, tmp_path / "memory.safetensors", "indices")
    with pytest.raises(ValueError, match=r"unknown store 'int8'\. Choices: float32, float16, uint8, indices"):
        save_memory(real, tmp_path / "memory.safetensors", "int8")
    assert list(tmp_path.iterdir()) == []


def test_indices_are_looked_up_with_distrust(real, digits, colours, tmp_path):
    path = tmp_path / "memory.safetensors"
    save_memory(real, path, "indices")
    assert "give the data set" in complaint(path)
    few = digits.train.subset(torch.arange(4))
    assert "a set of 4" in complaint(path, few)
    shuffled = digits.train.subset(torch.arange(len(digits.train)).flip(0))
    assert "other labels" in complaint(path, shuffled)


def test_any_truncation_is_noticed(made, tmp_path):
    path = tmp_path / "memory.safetensors"
    save_memory(made, path)
    content = path.read_bytes()
    for length in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert "cannot read the memory" in complaint(path)


def test_changed_pixels_and_labels_are_noticed(made, tmp_path):
    path = tmp_path / "memory.safetensors"
    for store in ("float32", "float16", "uint8"):
        save_memory(made, path, store)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        assert "checksum" in complaint(path)
        save_memory(made, path, store)
        rewrite(path, lambda tensors: tensors | {"labels": tensors["labels"].flip(0)})
        assert "checksum" in complaint(path)


def test_nothing_but_a_memory_is_read(made, tmp_path):
    path = tmp_path / "memory.safetensors"
    assert "cannot read" in complaint(path)
    (tmp_path / "folder").mkdir()
    assert "cannot read" in complaint(tmp_path / "folder")
    for content in (pickle.dumps({"images": 1}), b"\0" * 100, b"text\n" * 100, os.urandom(1000)):
        path.write_bytes(content)
        assert "cannot read" in complaint(path)
    torch.save({"images": made.images, "labels": made.labels}, path)
    assert "cannot read" in complaint(path)
    save_file({"labels": made.labels, "images": made.images}, path)
    assert "not a condensed memory" in complaint(path)


def test_a_pickle_never_runs(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    path = tmp_path / "memory.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    complaint(path)
    torch.save(Bomb(), path)
    complaint(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t | {"images": t["images"].index_fill(0, torch.tensor([3]), float("nan"))}, "NaN or infinite"),
        (lambda t: t | {"images": t["images"] / 0}, "NaN or infinite"),
        (lambda t: t | {"labels": t["labels"] - 1}, "negative label, -1"),
        (lambda t: t | {"labels": t["labels"].clamp_max(2)}, "not class-balanced: 2 to 4 images per class"),
        (lambda t: {"labels": t["labels"]}, "damaged"),
        (lambda t: {"images": t["images"]}, "not a condensed memory"),
        (lambda t: t | {"scale": torch.ones(8)}, "damaged"),
        (lambda t: t | {"scale": torch.ones(3), "offset": torch.ones(3)}, "damaged"),
    ],
)
def test_bad_tensors_are_named(made, tmp_path, change, words):
    path = tmp_path / "memory.safetensors"
    save_memory(made, path)
    rewrite(path, change)
    assert words in complaint(path)


def test_names_of_too_few_classes_are_named(made, tmp_path):
    path, few = tmp_path / "memory.safetensors", {"class_names": ["a", "b", "c"]}
    save_memory(replace(made, metadata=few), path)
    assert "holds class 5, but names 3 classes" in complaint(path)


@pytest.mark.parametrize("store", STORES)
def test_pixels_that_are_not_finite_are_not_written(made, tmp_path, store):
    """A small store would turn NaN into some colour, and the file would look whole."""
    path = tmp_path / "memory.safetensors"
    with pytest.raises(ValueError, match="NaN or infinite"):
        save_memory(replace(made, images=made.images * float("nan")), path, store)
    assert not path.exists()


def test_a_factor_that_no_image_has_is_one_line(made, tmp_path):
    path = tmp_path / "memory.safetensors"
    save_memory(made, path)
    told = {"decoding": {"name": "Factor", "factor": 10**160}}
    rewrite(path, header=lambda header: header | {"memory": json.dumps(json.loads(header["memory"]) | told)})
    assert "px do not hold" in complaint(path)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"config": 1}', '{"config": {"groups": [3]}}', "{}"])
def test_bad_metadata_is_one_line(made, tmp_path, text):
    path = tmp_path / "memory.safetensors"
    save_memory(made, path)
    rewrite(path, header=lambda header: header | {"memory": text})
    complaint(path)


def test_images_and_labels_that_do_not_fit(made):
    # Without the shape checks of the tests, as users run it.
    def unchecked(images, labels):
        memory = replace(made)
        object.__setattr__(memory, "images", images)
        object.__setattr__(memory, "labels", labels)
        return memory

    for images, labels in (
        (made.images, made.labels[:-1]),
        (made.images[0], made.labels),
        (made.images, made.labels[:, None]),
        (made.images[:0], made.labels[:0]),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            check(unchecked(images, labels))


def test_a_memory_of_other_data_does_not_fit(real, digits):
    check_fits(real.of_classes([0, 1]), "two", (1, 8, 8), 2)
    for shape in ((3, 8, 8), (1, 16, 16)):
        with pytest.raises(ValueError, match=r"holds images of \[1, 8, 8\]"):
            check_fits(real, "digits", shape, 10)
    with pytest.raises(ValueError, match="holds class 7; seven has 7 classes"):
        check_fits(real, "seven", (1, 8, 8), 7)
    with pytest.raises(ValueError, match="holds 4 of the 10 classes"):
        check_fits(real, "digits", (1, 8, 8), 10)
    metadata = {"dataset": "digits", "dataset_checksum": digits.checksum}
    check_origin(metadata, "digits", digits.checksum)
    check_origin({}, "digits", digits.checksum)
    check_origin(metadata, "folder:of the same images", digits.checksum)
    for name in ("svhn", "digits"):
        with pytest.raises(ValueError, match="was condensed from digits"):
            check_origin(metadata, name, "0" * 16)


def test_early_classes_may_have_more_where_the_config_says_so(made, tmp_path):
    path = tmp_path / "memory.safetensors"
    uneven = Memory(made.images[:3], made.labels[:3], {"config": {"groups": [[[0], 2], [[1], 1]]}})
    save_memory(uneven, path)
    assert load_memory(path).per_class == 1
    for groups in ([[[0], 1], [[1], 2]], [[[0, 1], 2]], [[[0], 2]]):
        with pytest.raises(ValueError, match="not class-balanced: 1 to 2"):
            check(replace(uneven, metadata={"config": {"groups": groups}}))


def test_part_of_a_memory_is_a_memory(real, tmp_path):
    path = tmp_path / "memory.safetensors"
    for part in (real.of_classes([3, 1]), real.first_per_class(2)):
        save_memory(part, path)
        assert load_memory(path).checksum == part.checksum


def test_a_failed_write_leaves_the_old_file_and_nothing_else(made, tmp_path):
    path, blocked = tmp_path / "memory.safetensors", tmp_path / "blocked"
    save_memory(made, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"cannot write .*too large"):
            save_memory(made, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    (blocked / "inside").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"cannot write .*irectory"):
        atomic_write(blocked, b"a folder is not replaced")
    with pytest.raises(ValueError, match="cannot write "):
        save_memory(made, path / "below a file" / "memory.safetensors")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["blocked", "memory.safetensors"]


def test_slices(real):
    part = real.of_classes([7, 3])
    assert part.labels.tolist() == [3, 7] * 3
    assert part.classes == [3, 7]
    keep = [0, 2, 4, 6, 8, 10]
    assert torch.equal(part.images, real.images[keep])
    assert torch.equal(part.indices, real.indices[keep])
    with pytest.raises(ValueError, match=r"no images of classes \[2, 9\]"):
        real.of_classes([3, 9, 2])
    first = real.first_per_class(2)
    assert torch.equal(first.images, real.images[:8])
    assert torch.equal(first.indices, real.indices[:8])
    assert first.per_class == 2
    assert torch.equal(real.first_per_class(99).images, real.images)
    blocks = Memory(real.images, real.labels.sort(stable=True).values, {})
    assert blocks.first_per_class(1).labels.tolist() == [0, 1, 3, 7]
    assert torch.equal(blocks.first_per_class(1).images, real.images[[0, 3, 6, 9]])


def test_join(real, made, digits):
    parts = [real.of_classes([3]), real.of_classes([0, 1])]
    whole = join(parts, {"condenser": "both"})
    assert whole.labels.tolist() == [3, 3, 3, 0, 1, 0, 1, 0, 1]
    assert torch.equal(digits.train.normalise(digits.train.images[whole.indices]), whole.images)
    assert whole.metadata == {"condenser": "both"}
    assert join([parts[0], replace(parts[1], indices=None)], {}).indices is None


def test_the_checksum_sees_every_pixel_label_and_order(made):
    pixel, label = made.images.clone(), made.labels.clone()
    pixel[3, 1, 4, 1] += 1e-6
    label[0] = 1
    others = [
        replace(made, images=pixel),
        replace(made, labels=label),
        replace(made, images=made.images.flip(0), labels=made.labels.flip(0)),
        made.first_per_class(1),
    ]
    assert len({memory.checksum for memory in (made, *others)}) == 5
    assert replace(made, metadata={}).checksum == made.checksum
    # The layout in memory does not matter.
    assert replace(made, images=made.images.to(memory_format=torch.channels_last)).checksum == made.checksum
    assert len(made.checksum) == 16


def test_metadata_is_json(made, tmp_path):
    path = tmp_path / "memory.safetensors"
    save_memory(made, path)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["memory"])["condenser"] == "dm"


def test_labelled_images(colours):
    expected = (colours.images.double() / 255 - torch.tensor(colours.mean).view(3, 1, 1)) / torch.tensor(
        colours.std
    ).view(3, 1, 1)
    torch.testing.assert_close(colours.normalise(colours.images).double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(colours.denormalise(colours.normalise(colours.images)), colours.images / 255)
    assert colours.denormalise(torch.full((1, 3, 2, 2), 9.0)).max() == 1
    part = colours.of_classes([2, 0])
    assert sorted(part.labels.unique().tolist()) == [0, 2]
    assert len(part) == 42
    assert isinstance(part, LabelledImages)
    assert part.shape == (3, 16, 16)
