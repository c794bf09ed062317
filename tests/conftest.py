"""What all tests share: shape checks at every call, real digits, and no CUDA test without CUDA."""

import contextlib
import os

# Tests compute little: a second thread gains nothing, and on a busy machine waiting for it costs minutes. Set before
# torch reads it, and inherited by the processes that tests start, whose results are compared to the bit.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping
import pytest
import torch
from jaxtyping import install_import_hook

with contextlib.suppress(ImportError):  # without numba nothing is compiled
    import search_spaces.kernels  # noqa: F401  (before the hook: numba cannot compile what checks its own arguments)

# Before anything imports these packages: their annotations are checked from here on, in tests only.
install_import_hook(["condensers", "search_spaces", "scenarios"], "beartype.beartype")


def pytest_addoption(parser):
    parser.addoption("--plugin", action="append", default=[], help="also run the contract suite over what it registers")


def pytest_configure(config):
    from harness.core.plugins import load

    load(config.getoption("--plugin"))


def pytest_runtest_setup(item):
    if item.get_closest_marker("cuda"):
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        # cuDNN's default, TF32, is a thousand times coarser than what such tests compare with.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic = True


@pytest.fixture(scope="module")
def unchecked():
    """From here to the end of the module shapes are not checked, as for users.

    For long runs of code whose shapes shorter tests check: checking takes more than two thirds of their time.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        yield


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """1352 training and 445 test images of 8x8 grey pixels in 10 classes."""
    from scenarios.datasets import load

    return load("digits", tmp_path_factory.mktemp("no data needed"))


@pytest.fixture(scope="session")
def colours():
    """Random coloured images of 16x16 pixels in 4 classes of 20, 21, 22 and 23 images, shuffled."""
    from condensers.device.images import LabelledImages

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(torch.arange(20, 24))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    images = torch.randint(0, 256, (len(labels), 3, 16, 16), generator=generator, dtype=torch.uint8)
    return LabelledImages(images, labels, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
