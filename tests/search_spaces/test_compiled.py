"""A CPU without a compiler: the same numbers to rounding, and a note."""

import subprocess
import sys

import torch

from search_spaces.registry import build

FEATURES = r"""
import sys, warnings, torch
sys.modules["numba"] = None  # as if it were not installed
with warnings.catch_warnings(record=True) as notes:
    warnings.simplefilter("always")
    from search_spaces.registry import build
    torch.manual_seed(0)
    network, images = build("ConvNet-W8-D2", 3, (3, 8, 8)), torch.randn(5, 3, 8, 8)
    logits = network(images)
    gradients = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    network(images)
torch.save([logits.detach(), *gradients], sys.argv[1])
print(*(str(note.message) for note in notes), sep="\n")
"""


def test_without_numba_the_layers_run_and_a_note_says_so(tmp_path):
    file = tmp_path / "found.pt"
    done = subprocess.run([sys.executable, "-c", FEATURES, file], capture_output=True, text=True, check=True)
    assert done.stdout.count("no compiled passes, networks take longer on this CPU: import of numba halted") == 1
    torch.manual_seed(0)
    network, images = build("ConvNet-W8-D2", 3, (3, 8, 8)), torch.randn(5, 3, 8, 8)
    logits = network(images)
    gradients = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    for found, expected in zip(torch.load(file), (logits, *gradients), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
