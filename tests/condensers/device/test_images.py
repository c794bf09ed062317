import torch

from condensers.device.images import position_in_class


def test_position_in_class():
    labels = torch.tensor([2, 0, 2, 2, 0])
    assert position_in_class(labels).tolist() == [0, 0, 1, 2, 1]
