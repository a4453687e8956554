from dataclasses import replace

import numpy as np
import pytest

from model.config import DetectorConfig
from model.rcnn.scale import near, scale_for

CELLS = DetectorConfig(cell_px=32, small_cell_px=24, enlargement=3)


def test_the_scale_brings_the_median_cell_to_the_wanted_size():
    assert scale_for(np.full(9, 64.0), CELLS) == 0.5


def test_cells_of_a_good_size_are_left_at_it():
    assert scale_for(np.full(9, 28.0), CELLS) == 1.0


def test_small_cells_are_enlarged_but_not_without_end():
    assert scale_for(np.full(9, 12.0), CELLS) == 2.0
    assert scale_for(np.full(9, 3.0), CELLS) == 3.0


def test_the_scale_keeps_the_small_cells_among_large_ones():
    mixed = np.array([20.0] * 10 + [320.0] * 90)
    assert scale_for(mixed, CELLS) == pytest.approx(8 / 20)


def test_configurations_are_near_when_they_look_at_about_the_same_scale():
    one = DetectorConfig(scale=0.5, anchor_sizes=(20.0, 30.0))
    for scale, are_near in ((0.6, True), (1.0, False)):
        other = replace(one, scale=scale)
        assert near(one, other) == near(other, one) == are_near
