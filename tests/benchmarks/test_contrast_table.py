from __future__ import annotations

import numpy as np
import pytest

from benchmarks.contrast.shifts import AS_IS, SHIFTS
from benchmarks.contrast.table import Line, ap50_lead, over_sets_table
from model.judging.pairing import Pairs
from model.judging.resampling import draw_weights, interval, resampled_ap
from model.reports import Interval
from preprocessing.arrays import Int64

#: Of ten cells each image has so many found, among wrong boxes: some are hard, some are easy.
FOUND = np.array([2, 9, 4, 10, 3, 8, 5, 7], np.int64)


def pairs(found: Int64) -> Pairs:
    """Return images of ten cells and ten boxes, so many of them right, at scores by chance."""
    right = np.concatenate([np.arange(10) < number for number in found])
    image = np.repeat(np.arange(len(found)), 10)
    order = np.random.default_rng(7).permutation(len(right))
    scores = np.linspace(0.9, 0.1, len(right), dtype=np.float32)
    return Pairs(scores, right[order], image[order], np.full(len(found), 10))


def test_a_gain_is_judged_image_by_image() -> None:
    better, worse = pairs(FOUND), pairs(FOUND - 1)
    gain = ap50_lead([better], [worse])
    alone = interval(resampled_ap(better, draw_weights(len(FOUND))))
    assert gain is not None
    assert alone is not None
    assert 0 < gain.low < gain.high
    assert gain.high - gain.low < alone.high - alone.low
    assert ap50_lead([better, worse], [worse, better]) == Interval(0.0, 0.0)


def test_a_gain_over_other_images_is_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        ap50_lead([pairs(FOUND)], [pairs(FOUND[1:])])


def line(data: str, seed: int, ap50: float) -> Line:
    """Return a trial's line; with contrast shifted its AP50 is 0.1 lower."""
    ap = {shift: ap50 if shift == AS_IS else ap50 - 0.1 for shift in SHIFTS}
    return {"data": data, "augmentation": "mild", "treatment": "raw", "seed": seed, "ap50": ap}


def test_over_sets_each_weighs_the_same_where_a_seed_was_stopped_half_way() -> None:
    lines = [line("bccd", 0, 0.9), line("bccd", 1, 0.7), line("usiigaci", 0, 0.4)]
    (row,) = over_sets_table(lines).splitlines()[2:]
    assert row == "| mild | raw | 3 | 0.600 | 0.500 | 0.100 |"
