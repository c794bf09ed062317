"""A captured step and a real branch in bfloat16 against the eager float32 loop."""

import gc
import weakref

import pytest
import torch

from condensers import registry
from condensers.core.matching import Matching
from condensers.core.recipe import Schedule
from condensers.device.capture import WARM_UP, Captured

NAMES = ("dm", "ours", "ddm-paper", "dm+ridge")


def matching(source, real_dtype="float32", augmentation="color_crop_cutout_scale_rotate"):
    schedule = Schedule(10, 32, "ConvNet-W16-D2", augmentation, chunk=64, real_dtype=real_dtype)
    return Matching(source, range(10), 5, [registry.condenser(name) for name in NAMES], schedule, 5)


def repeatable(source):
    """Without the warp, whose gradient adds up in another order every time on CUDA: a few steps make that visible."""
    return matching(source.to("cuda"), augmentation="color_cutout")


def distance(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


def test_a_cpu_only_calls():
    captured, numbers = Captured(torch.device("cpu")), iter(range(WARM_UP + 3))
    assert [captured(lambda: next(numbers)) for _ in range(WARM_UP + 3)] == list(range(WARM_UP + 3))
    assert captured.graph is None


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_bfloat16_reads_nearly_the_same_real_images(digits, device):
    source = digits.train.to(device)
    exact, rounded = matching(source), matching(source, "bfloat16")
    for pair in (exact, rounded):
        pair.iteration = 3
        pair.gradients()
    for name in NAMES:
        error = distance(rounded.pixels[name].grad, exact.pixels[name].grad)
        assert 0 < error < 0.05, (name, error)


def test_a_finished_run_is_gone_at_once(digits):
    gone = []
    run = matching(digits.train)
    run.step()
    weakref.finalize(run, gone.append, True)
    gc.disable()
    try:
        del run
        assert gone == [True]
    finally:
        gc.enable()


def test_bfloat16_belongs_to_the_config():
    assert Schedule(real_dtype="bfloat16").describe() != Schedule().describe()


def test_other_arithmetic_is_refused(digits):
    with pytest.raises(ValueError, match="float32 and bfloat16, not 'float16'"):
        matching(digits.train, "float16")


@pytest.mark.cuda
def test_a_captured_run_is_the_eager_run(digits):
    captured, eager = (repeatable(digits.train) for _ in range(2))
    eager._captured.eager_calls_left = None
    for _ in range(WARM_UP + 5):
        losses, wanted = captured.step(), eager.step()
        for name in NAMES:
            torch.testing.assert_close(losses[name], wanted[name], rtol=1e-4, atol=1e-4)
    assert captured._captured.graph is not None
    assert eager._captured.graph is None
    for name in NAMES:
        torch.testing.assert_close(captured.pixels[name], eager.pixels[name], rtol=1e-3, atol=1e-3)


@pytest.mark.cuda
def test_a_step_with_every_operation_is_captured_too(digits):
    captured, eager = (matching(digits.train.to("cuda")) for _ in range(2))
    eager._captured.eager_calls_left = None
    for _ in range(WARM_UP + 1):
        losses, wanted = captured.step(), eager.step()
    assert captured._captured.graph is not None
    for name in NAMES:
        torch.testing.assert_close(losses[name], wanted[name], rtol=1e-2, atol=1e-2)


@pytest.mark.cuda
def test_a_restored_run_is_captured_anew(digits):
    whole, half = (repeatable(digits.train) for _ in range(2))
    for _ in range(12):
        whole.step()
    for _ in range(6):
        half.step()
    resumed = repeatable(digits.train)
    for _ in range(WARM_UP + 2):  # captured, on pixels that are about to be replaced
        resumed.step()
    resumed.restore(half.state())
    for _ in range(6):
        resumed.step()
    for name in NAMES:
        torch.testing.assert_close(resumed.pixels[name], whole.pixels[name], rtol=1e-3, atol=1e-3)


@pytest.mark.cuda
def test_a_function_that_waits_for_the_host_is_called_with_a_warning():
    x = torch.ones(3, device="cuda")
    captured = Captured(x.device)
    with pytest.warns(UserWarning, match="not captured"):
        assert [captured(lambda: float(x.sum())) for _ in range(WARM_UP + 2)] == [3.0] * (WARM_UP + 2)
