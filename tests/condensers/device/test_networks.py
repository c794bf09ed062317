import pytest
import torch

from condensers.device import draws
from condensers.device.networks import new_network
from search_spaces.registry import build

NAMED = ("ConvNet-W8-D2-IN-ReLU-Avg", 4, (3, 16, 16))


def test_a_network_is_built_laid_out_and_drawn():
    network = new_network(*NAMED, "cpu", key=7)
    plain = build(*NAMED)
    draws.draw_network(plain, 7)
    for one, other in zip(network.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other), "the layout changes no value"
    weights = [weight for weight in network.parameters() if weight.dim() == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_another_key_is_another_network():
    one, other = (new_network(*NAMED, "cpu", key) for key in (1, 2))
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert not any(torch.equal(mine, theirs) for mine, theirs in pairs if mine.dim() > 1)


def test_a_network_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="pools a 16 px image away"):
        new_network("ConvNet-W8-D5-IN-ReLU-Avg", 4, (3, 16, 16), "cpu", key=0)


@pytest.mark.cuda
def test_weights_are_the_same_on_cuda():
    one, other = new_network(*NAMED, "cpu", key=7), new_network(*NAMED, "cuda", key=7)
    for here, there in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(here, there.cpu())
