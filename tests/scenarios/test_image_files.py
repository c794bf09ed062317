"""SVHN, Tiny ImageNet and folders of images: what is read is what was written, and damage is one line."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from scenarios.datasets import load

from .on_disk import complaint, write_picture


@pytest.fixture
def split_folder(tmp_path):
    """Two classes, two train images and one test image each; red is the class, green the position."""
    for label, name in enumerate(("ant", "bee")):
        for split, count in (("train", 2), ("test", 1)):
            for position in range(count):
                write_picture(tmp_path / split / name / f"{position}.png", (100 * label, 50 * position, 7))
    return tmp_path


# --- SVHN


def write_svhn(path, labels, side=32):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3, len(labels)), dtype=np.uint8)
    savemat(path, {"X": pixels, "y": np.array(labels, np.uint8)[:, None]}, do_compression=True)
    return pixels


def test_svhn_is_read_as_written_and_its_ten_is_zero(tmp_path):
    labels = [10, *range(1, 10), 3]
    pixels = write_svhn(tmp_path / "train_32x32.mat", labels)
    write_svhn(tmp_path / "test_32x32.mat", range(1, 11))
    data = load("svhn", tmp_path)
    assert data.train.labels.tolist() == [0, *range(1, 10), 3]
    assert data.shape == (3, 32, 32)
    assert data.train.images[4, 2, 5, 6] == pixels[5, 6, 2, 4]


def test_damaged_svhn_names_the_file(tmp_path):
    train, test = tmp_path / "train_32x32.mat", tmp_path / "test_32x32.mat"
    write_svhn(test, range(1, 11))
    for labels, side in ((range(11), 32), (range(1, 12), 32), (range(1, 11), 16)):
        write_svhn(train, labels, side)
        assert f"{train} is not in SVHN's" in complaint("svhn", tmp_path)
    train.write_bytes(test.read_bytes()[:5000])
    assert f"{train} is damaged" in complaint("svhn", tmp_path)
    savemat(train, {"other": [1]})
    assert f"{train} is damaged" in complaint("svhn", tmp_path)


def test_zeros_that_svhn_unpacks_to_are_counted_before_they_are(tmp_path, monkeypatch):
    for name in ("train_32x32.mat", "test_32x32.mat"):
        write_svhn(tmp_path / name, range(1, 11))
    monkeypatch.setattr("os.sysconf", lambda name: 200)  # a machine of 40 kB
    assert "10 images of 32 x 32 pixels take" in complaint("svhn", tmp_path)


def test_a_class_whose_name_cannot_be_written_down_is_refused(split_folder):
    for split in ("train", "test"):
        (split_folder / split / "bee").rename(split_folder / split / "b\x1b[31m")
    assert "rename it" in complaint(f"folder:{split_folder}", Path("unused"))


# --- Tiny ImageNet


@pytest.fixture
def tinyimagenet(tmp_path):
    """Two classes in the official layout, one validation image each, listed in the other order."""
    folder = tmp_path / "tiny-imagenet-200"
    for label, wnid in enumerate(("n01", "n02")):
        write_picture(folder / "train" / wnid / "images" / f"{wnid}_0.JPEG", (200 * label, 0, 0), (64, 64))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("not an image")
        write_picture(folder / "val" / "images" / f"val_{label}.JPEG", (200 * (1 - label), 0, 0), (64, 64))
    (folder / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n")
    return tmp_path


def test_tinyimagenet_is_read_with_its_annotations(tinyimagenet):
    data = load("tinyimagenet", tinyimagenet)
    assert data.class_names == ("n01", "n02")
    assert data.shape == (3, 64, 64)
    assert data.train.images[:, 0, 0, 0].tolist() == pytest.approx([0, 200], abs=3)
    assert data.test.images[:, 0, 0, 0].tolist() == pytest.approx([200, 0], abs=3)
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 1], [1, 0])
    assert load("tinyimagenet", tinyimagenet, 32).shape == (3, 32, 32)


def test_annotations_that_never_end_are_not_read(tinyimagenet):
    annotations = tinyimagenet / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    annotations.unlink()
    os.mkfifo(annotations)
    assert "it is a pipe or a device" in complaint("tinyimagenet", tinyimagenet)


def test_missing_tinyimagenet_says_how_to_get_it(tmp_path):
    message = complaint("tinyimagenet", tmp_path)
    assert str(tmp_path / "tiny-imagenet-200" / "train") in message
    assert "http://cs231n.stanford.edu/tiny-imagenet-200.zip" in message


@pytest.mark.parametrize("row", ["val_0.JPEG\tn99\t0", "val_0.JPEG", "\xff"])
def test_bad_annotation_names_file_and_line(tinyimagenet, row):
    path = tinyimagenet / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    path.write_text(f"val_1.JPEG\tn01\n{row}\n", encoding="latin1")
    assert f"{path} line 2" in complaint("tinyimagenet", tinyimagenet)


def test_empty_annotations_leave_no_test_image(tinyimagenet):
    (tinyimagenet / "tiny-imagenet-200" / "val" / "val_annotations.txt").write_text("")
    assert "no test image" in complaint("tinyimagenet", tinyimagenet)


def test_annotated_image_must_exist(tinyimagenet):
    path = tinyimagenet / "tiny-imagenet-200" / "val" / "images" / "val_0.JPEG"
    path.unlink()
    assert str(path) in complaint("tinyimagenet", tinyimagenet)


# --- folders of images


def test_folder_with_train_and_test(split_folder):
    data = load(f"folder:{split_folder}", Path("unused"), 8)
    assert data.name == f"folder:{split_folder}"
    assert data.class_names == ("ant", "bee")
    assert data.train.images[:, :, 0, 0].tolist() == [[0, 0, 7], [0, 50, 7], [100, 0, 7], [100, 50, 7]]
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.images[:, :, 0, 0].tolist() == [[0, 0, 7], [100, 0, 7]]
    assert data.train.mean == pytest.approx([50 / 255, 25 / 255, 7 / 255])
    assert data.train.std[:2] == pytest.approx([50 / 255, 25 / 255])
    assert data.train.normalise(data.train.images).isfinite().all()  # blue never varies
    assert load(f"folder:{split_folder}", Path("unused")).shape == (3, 32, 32)


def test_folder_takes_val_for_test(split_folder):
    before = load(f"folder:{split_folder}", Path("unused"))
    (split_folder / "test").rename(split_folder / "val")
    assert load(f"folder:{split_folder}", Path("unused")).checksum == before.checksum


def test_folder_of_classes_holds_out_every_fifth(tmp_path):
    for position in range(11):
        for name in ("b", "a"):
            write_picture(tmp_path / name / f"{position:02}.png", (20 * position, 0, 0))
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / ".00.png").write_text("no image")
    (tmp_path / ".cache").mkdir()
    data = load(f"folder:{tmp_path}", Path("unused"), 8)
    assert data.class_names == ("a", "b")
    assert data.test.images[:, 0, 0, 0].tolist() == [80, 180, 80, 180]
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert len(data.train) == 18


def test_pictures_are_cropped_to_the_central_square(split_folder):
    picture = Image.new("RGB", (40, 16), (255, 0, 0))
    picture.paste((0, 255, 0), (12, 0, 28, 16))
    picture.save(split_folder / "train" / "ant" / "0.png")
    image = load(f"folder:{split_folder}", Path("unused"), 8).train.images[0]
    assert (image[0, :, 1:-1] == 0).all()
    assert (image[1, :, 1:-1] == 255).all()
    assert image[0].max() < 64  # the filter may look across the edge of the square


def test_grey_and_transparent_pictures_become_colour(split_folder):
    Image.new("L", (8, 8), 90).save(split_folder / "train" / "ant" / "0.png")
    Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save(split_folder / "train" / "ant" / "1.png")
    data = load(f"folder:{split_folder}", Path("unused"), 8)
    assert data.train.images[:2, :, 0, 0].tolist() == [[90, 90, 90], [1, 2, 3]]


def test_unreadable_picture_is_named(split_folder):
    path = split_folder / "train" / "bee" / "0.png"
    for content in (b"no image", path.read_bytes()[:40]):
        path.write_bytes(content)
        assert f"{path} is no readable image" in complaint(f"folder:{split_folder}", split_folder)


def test_class_folder_without_images_is_named(split_folder):
    (split_folder / "test" / "bee" / "0.png").unlink()
    assert f"{split_folder / 'test' / 'bee'} holds no image" in complaint(f"folder:{split_folder}", split_folder)


def test_train_and_test_must_hold_the_same_classes(split_folder):
    write_picture(split_folder / "test" / "cat" / "0.png", (0, 0, 0))
    message = complaint(f"folder:{split_folder}", split_folder)
    assert str(split_folder / "test") in message
    assert message.endswith(": cat")


def test_train_needs_a_test_folder(split_folder):
    (split_folder / "test").rename(split_folder / "holdout")
    assert f"{split_folder} has train but neither test nor val" in complaint(f"folder:{split_folder}", split_folder)


def test_too_few_images_to_hold_out_are_named(split_folder):
    message = complaint(f"folder:{split_folder / 'train'}", split_folder)
    assert f"{split_folder / 'train' / 'ant'} has 2 images" in message


def test_missing_or_classless_folder_is_named(tmp_path):
    assert f"there is no folder {tmp_path / 'x'}" in complaint(f"folder:{tmp_path / 'x'}", tmp_path)
    assert f"{tmp_path} holds 0 class folders" in complaint(f"folder:{tmp_path}", tmp_path)
    (tmp_path / "only").mkdir()
    assert f"{tmp_path} holds 1 class folders" in complaint(f"folder:{tmp_path}", tmp_path)


def test_a_folder_is_the_same_data_set_however_it_is_spelled(split_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(split_folder)
    (tmp_path / "link").symlink_to(split_folder)
    names = [f"folder:{split_folder}", "folder:.", f"folder:{split_folder}/../{split_folder.name}/", "folder:link"]
    sets = [load(name, Path("unused"), 8) for name in names]
    assert [each.name for each in sets] == names
    assert {each.identity for each in sets} == {f"folder-{sets[0].checksum}"}
    assert load("folder:.", Path("unused"), 16).identity != sets[0].identity
    assert load("digits", Path("unused")).hold_out(5).identity == "digits"


# --- what is not read, and what would eat the machine


@pytest.mark.parametrize("path", ["~nosuchuser/images", "x" * 300, "images\n", "images\udcff", "images\0"])
def test_a_path_that_cannot_be_is_one_line(tmp_path, path):
    assert complaint(f"folder:{path}", tmp_path).isprintable()


def test_a_pipe_among_the_images_is_not_waited_for(split_folder):
    path = split_folder / "train" / "bee" / "0.png"
    path.unlink()
    os.mkfifo(path)
    assert f"{path} is no readable image (it is no file)" in complaint(f"folder:{split_folder}", split_folder)


def test_a_small_file_of_many_pixels_is_not_decoded(split_folder):
    path = split_folder / "train" / "bee" / "0.png"
    Image.new("1", (13_000, 13_000)).save(path)
    assert path.stat().st_size < 100_000
    message = complaint(f"folder:{split_folder}", split_folder)
    assert f"{path} is no readable image (13000 x 13000 pixels, at most 67,108,864" in message


@pytest.mark.parametrize("name", ["digits", "folder:"])
def test_a_resolution_beyond_the_memory_is_told_before_the_work(split_folder, name):
    name += str(split_folder) if name == "folder:" else ""
    message = complaint(name, split_folder, 1_000_000)
    assert "images of 1000000 x 1000000 pixels take " in message
    assert message.endswith("give a smaller --resolution")
