"""Memory files as commands know them."""

import torch

from condensers.memory import Memory
from harness.core.stored import content_of


def test_what_is_stored_as_it_is_seen_is_known_by_its_checksum_alone():
    """So that scores from before decoding was part of their keys are found again."""
    images, labels = torch.zeros(2, 3, 8, 8), torch.arange(2)
    plain = [Memory(images, labels, own) for own in ({}, {"decoding": None}, {"decoding": {"name": "Raw"}})]
    assert [content_of(memory) for memory in plain] == 3 * [plain[0].checksum]
    mosaic = {"name": "Factor", "factor": 2, "clamp": True}
    assert content_of(Memory(images, labels, {"decoding": mosaic})) == [plain[0].checksum, mosaic]
