"""Data sets: what is read is what was written, and every bad input is one line that names the culprit.

Real data is used where the environment variable CONDENSED_DATA_ROOT points to it.
"""

import hashlib
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import install_opener

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from scenarios import datasets, files
from scenarios.datasets import DATASETS, load

REAL_ROOT = os.environ.get("CONDENSED_DATA_ROOT")


def complaint(name, root, resolution=None):
    """The message of the ValueError that `load` must raise: always one line."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        load(name, root, resolution)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def records(labels, label_bytes, seed):
    """Official CIFAR binary records with random pixels: the bytes, and the pixels [n, 3, 32, 32]."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    leading = np.zeros((len(labels), label_bytes - 1), np.uint8)
    return np.hstack([leading, np.array(labels, np.uint8)[:, None], pixels]), pixels.reshape(-1, 3, 32, 32)


def write_cifar(root, layout, seed=0):
    """Tiny binary CIFAR, every class once in every file; returns the pixels by file name."""
    folder = root / layout.binary_folder
    folder.mkdir(parents=True)
    written = {}
    for number, name in enumerate((*layout.binary_train, layout.binary_test)):
        data, written[name] = records(range(len(layout.class_names)), layout.label_bytes, seed + number)
        data.tofile(folder / name)
    return written


def write_picture(path, colour, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def split_folder(tmp_path):
    """Two classes, two train images and one test image each; red is the class, green the position."""
    for label, name in enumerate(("ant", "bee")):
        for split, count in (("train", 2), ("test", 1)):
            for position in range(count):
                write_picture(tmp_path / split / name / f"{position}.png", (100 * label, 50 * position, 7))
    return tmp_path


@pytest.fixture
def through_proxy(monkeypatch):
    """Sends every request to a port of this machine, whatever the machine's own network is."""

    def use(port):
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        install_opener(None)  # urllib reads the environment once, for its first request

    yield use
    install_opener(None)


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


def test_position_in_class():
    labels = torch.tensor([2, 0, 2, 2, 0])
    assert files.position_in_class(labels).tolist() == [0, 0, 1, 2, 1]


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


# --- CIFAR


@pytest.mark.parametrize(("name", "layout"), [("cifar10", files.CIFAR10), ("cifar100", files.CIFAR100)])
def test_binary_cifar_is_read_as_written(tmp_path, name, layout):
    written = write_cifar(tmp_path, layout)
    data = load(name, tmp_path)
    train = np.concatenate([written[file] for file in layout.binary_train])
    labels = torch.arange(data.classes)
    assert torch.equal(data.train.images, torch.from_numpy(train))
    assert torch.equal(data.test.images, torch.from_numpy(written[layout.binary_test]))
    assert torch.equal(data.train.labels, labels.repeat(len(layout.binary_train)))
    assert torch.equal(data.test.labels, labels)
    assert data.classes == int(name[5:])


def test_checksum_tells_data_apart(tmp_path):
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_cifar(tmp_path / place, files.CIFAR10, seed)
    a, b, c = (load("cifar10", tmp_path / place).checksum for place in "abc")
    assert a == b != c
    assert len(a) == 16
    with (tmp_path / "b/cifar-10-batches-bin/test_batch.bin").open("r+b") as stream:
        stream.seek(3000)
        stream.write(bytes([stream.read(1)[0] ^ 1]))
    assert load("cifar10", tmp_path / "b").checksum != a


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_empty(path):
    path.write_bytes(b"")


def damage_label(path):
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_truncate, "not a multiple of 3073"),
        (damage_empty, "0 bytes"),
        (damage_label, "no class 10"),
        (Path.unlink, "missing"),
    ],
)
@pytest.mark.parametrize("file", ["data_batch_4.bin", "test_batch.bin"])
def test_damaged_binary_cifar_names_the_file(tmp_path, damage, words, file):
    write_cifar(tmp_path, files.CIFAR10)
    path = tmp_path / "cifar-10-batches-bin" / file
    damage(path)
    message = complaint("cifar10", tmp_path)
    assert str(path) in message
    assert words in message


@pytest.mark.parametrize(("file", "split"), [("train.bin", "training"), ("test.bin", "test")])
def test_cifar_without_a_class_is_incomplete(tmp_path, file, split):
    write_cifar(tmp_path, files.CIFAR100)
    records(range(99), 2, 0)[0].tofile(tmp_path / "cifar-100-binary" / file)
    assert f"no {split} image of class 'worm'" in complaint("cifar100", tmp_path)


def test_pickled_and_binary_cifar_are_the_same_data(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR100

    written = write_cifar(tmp_path / "binary", files.CIFAR100)
    folder = tmp_path / "pickled" / CIFAR100.base_folder
    folder.mkdir(parents=True)
    contents = {
        name: {"data": written[f"{name}.bin"].reshape(100, 3072), "fine_labels": list(range(100))}
        for name in ("train", "test")
    }
    contents["meta"] = {"fine_label_names": files.CIFAR100.class_names}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
    md5 = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in contents}
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5["test"]]])
    monkeypatch.setitem(CIFAR100.meta, "md5", md5["meta"])
    pickled, binary = (load("cifar100", tmp_path / place) for place in ("pickled", "binary"))
    assert pickled.checksum == binary.checksum
    assert pickled.class_names == binary.class_names


class Explosive:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_cifar_is_not_opened_before_its_hash_is_right(tmp_path):
    trace = tmp_path / "trace"
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(pickle.dumps(Explosive(trace)))
    message = complaint("cifar100", tmp_path)
    assert f"{folder / 'train'} is damaged" in message
    assert not trace.exists()
    pickle.loads((folder / "train").read_bytes())
    assert trace.exists()  # so the file would have done harm


def test_incomplete_pickled_cifar_names_the_file(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert f"{tmp_path / 'cifar-10-batches-py' / 'data_batch_1'} is missing" in complaint("cifar10", tmp_path)


# --- downloads


@pytest.mark.parametrize(
    ("name", "accepted", "url"),
    [
        (
            "cifar10",
            ["cifar-10-batches-py/ (data_batch_1", "cifar-10-batches-bin/ (data_batch_1.bin"],
            "cs.toronto.edu",
        ),
        ("cifar100", ["cifar-100-python/ (train, test, meta)", "cifar-100-binary/ (train.bin, test.bin)"], "toronto"),
        ("svhn", ["train_32x32.mat and test_32x32.mat"], "ufldl.stanford.edu"),
    ],
)
def test_without_a_network_missing_data_says_where_what_and_how(tmp_path, through_proxy, name, accepted, url):
    through_proxy(9)  # refuses connections
    root = tmp_path / "data"
    start = time.perf_counter()
    message = complaint(name, root)
    assert time.perf_counter() - start < 5
    assert all(words in message for words in [*accepted, url, str(root)])
    assert not root.exists()


def test_a_network_that_never_answers_fails_in_seconds(tmp_path, through_proxy, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        through_proxy(silent.getsockname()[1])
        monkeypatch.setattr(files, "_PROBE_SECONDS", 0.2)
        assert "timed out" in complaint("svhn", tmp_path)


class Impostor(BaseHTTPRequestHandler):
    """A proxy that answers every address with the same few bytes."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


def test_a_download_with_the_wrong_hash_leaves_nothing_behind(tmp_path, through_proxy):
    with ThreadingHTTPServer(("127.0.0.1", 0), Impostor) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        through_proxy(server.server_port)
        message = complaint("svhn", tmp_path)
        server.shutdown()
    assert "could not download (File not found or corrupted.)" in message
    assert list(tmp_path.iterdir()) == []


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


# --- real data, where there is some


@pytest.mark.skipif(not REAL_ROOT, reason="CONDENSED_DATA_ROOT is not set")
@pytest.mark.parametrize(("name", "checksum"), [("cifar10", "44ec2972b7f45f48"), ("cifar100", "c9086cf2740c1200")])
def test_real_cifar_is_the_published_one(name, checksum):
    data = load(name, Path(REAL_ROOT))
    assert (len(data.train), len(data.test), data.shape) == (50_000, 10_000, (3, 32, 32))
    assert data.train.labels.bincount().tolist() == [50_000 // data.classes] * data.classes
    assert data.train.mean == pytest.approx(datasets._statistics(data.train.images)[0], abs=5e-4)
    assert data.checksum == checksum


@pytest.mark.skipif(not REAL_ROOT, reason="CONDENSED_DATA_ROOT is not set")
def test_class_names_are_those_of_the_real_files():
    from torchvision.datasets import CIFAR100

    if not (Path(REAL_ROOT) / CIFAR100.base_folder).is_dir():
        pytest.skip("no pickled CIFAR-100 there")
    assert list(files.CIFAR100.class_names) == CIFAR100(REAL_ROOT, train=False).classes
