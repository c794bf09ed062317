"""What figures have in common."""

import numpy as np
import pytest

from harness.evidence.figures import blank, inches, spread


def test_what_would_overlap_is_moved_apart_and_nothing_else():
    apart = spread(np.array([5.0, 1.0, 1.0, 1.0, 9.0]), gap=0.5)
    assert apart == pytest.approx([5, 0.5, 1, 1.5, 9])


def test_a_pile_moves_around_its_middle():
    apart = spread(np.array([1.0, 1.0, 2.1]), gap=1.0)
    assert np.diff(apart) == pytest.approx([1, 1])
    assert apart.mean() == pytest.approx(4.1 / 3)


def test_a_text_is_no_wider_than_said():
    for points, said in ((7, "first 10 of 12 images per class"), (9, "WWWWWWWWWW"), (12, "illness")):
        figure = blank(4, 1, dpi=100)
        drawn = figure.text(0, 0, said, fontsize=points, fontweight="bold").get_window_extent()
        # Boxes have whole pixels, a hundred an inch.
        assert 0.9 * inches([said], points) < drawn.width / 100 <= inches([said], points) + 0.01
    assert inches([]) == inches([""]) == 0
