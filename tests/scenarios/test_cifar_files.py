"""CIFAR as pickles or binary files, and downloads: what is read is what was written, and damage is one line."""

import hashlib
import pickle
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import install_opener

import numpy as np
import pytest
import torch

from scenarios import files
from scenarios.datasets import load

from .on_disk import complaint, records, write_cifar


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
