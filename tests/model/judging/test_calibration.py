from __future__ import annotations

import numpy as np
import pytest

from model.judging.calibration import Calibration, calibrate, reliability
from model.judging.pairing import Pairs

RNG = np.random.default_rng(7)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def pairs_by(
    slope: float, offset: float, boxes: int, images: int = 8, moved: float = 0.0
) -> tuple[Pairs, list[str]]:
    """Boxes whose chance is a known curve of their score; in every second image moved by some."""
    logits = RNG.normal(0, 2, boxes)
    image = np.arange(boxes) % images
    chance = sigmoid(slope * logits + offset + np.where(image % 2, moved, -moved))
    order = np.argsort(-logits)
    right = RNG.random(boxes) < chance
    scores = sigmoid(logits).astype(np.float32)
    pairs = Pairs(scores[order], right[order], image[order], np.full(images, boxes // images))
    return pairs, ["high" if n % 2 else "low" for n in range(images)]


def test_the_curve_by_which_boxes_were_right_is_found_again() -> None:
    pairs, _ = pairs_by(0.6, -0.8, boxes=6000)
    found = calibrate(pairs, ["low"] * 8)
    assert (found.slope, found.offset) == pytest.approx((0.6, -0.8), abs=0.1)
    before, after = (
        [abs(one.score - one.right) for one in reliability(s, pairs.right) if one.boxes > 200]
        for s in (pairs.scores, found.probabilities(pairs.scores))
    )
    assert max(before) > 0.1
    assert max(after) < 0.06


def test_where_surer_boxes_are_more_often_wrong_the_mean_chance_is_still_right() -> None:
    scores = np.repeat(np.array([0.95, 0.6], np.float32), 200)
    right = np.concatenate([np.arange(200) < 60, np.arange(200) < 190])
    image = np.arange(400) % 8
    found = calibrate(Pairs(scores, right, image, np.full(8, 50)), ["low", "high"] * 4)
    assert found.slope > 0
    assert found.probabilities(scores).mean() == pytest.approx(right.mean(), abs=0.02)
    for group, own in (("low", image % 2 == 0), ("high", image % 2 == 1)):
        likely = found.probabilities(scores[own], group).mean()
        assert likely == pytest.approx(right[own].mean(), abs=0.02)


@pytest.mark.parametrize(("images", "believed"), [(4, 2 / 12), (40, 20 / 30)])
def test_a_contrast_group_is_believed_as_far_as_it_has_images(images: int, believed: float) -> None:
    pairs, groups = pairs_by(1.0, 0.0, boxes=8000, images=images, moved=1.0)
    found = calibrate(pairs, groups)
    assert found.shifts["high"] == pytest.approx(believed, rel=0.15)
    assert found.shifts["low"] == pytest.approx(-believed, rel=0.15)
    assert found.probability(0.5, "high") > found.probability(0.5) > found.probability(0.5, "low")


def test_one_contrast_group_alone_is_the_project() -> None:
    assert calibrate(pairs_by(1.0, 0.5, boxes=500)[0], ["low"] * 8).shifts == {"low": 0.0}


@pytest.mark.parametrize("offset", [-40.0, 40.0])
def test_few_boxes_move_the_curve_little_though_all_are_right_or_wrong(offset: float) -> None:
    few, many = (
        calibrate(pairs_by(1.0, offset, boxes)[0], ["low"] * 8).probability(0.5)
        for boxes in (16, 1600)
    )
    assert abs(few - 0.5) < 0.2
    assert abs(many - 0.5) > 0.35


def test_without_a_box_the_scores_are_taken_for_probabilities() -> None:
    assert calibrate(Pairs.of([], []), []) == Calibration()


def test_scores_that_part_right_from_wrong_wholly_are_no_trouble() -> None:
    scores = np.linspace(0.99, 0.01, 200).astype(np.float32)
    image = np.zeros(200, np.int64)
    parted = Pairs(scores, scores > 0.5, image, np.array([100]))
    likely = calibrate(parted, ["low"]).probabilities(scores)
    assert likely[99] > 0.5 > likely[101]


def test_the_order_of_the_scores_stays_and_without_a_fit_they_stay_themselves() -> None:
    scores = np.array([1.0, 0.99, 0.4, 0.02, 0.0], np.float32)
    likely = Calibration(0.3, -2.0).probabilities(scores)
    assert (np.diff(likely) < 0).all()
    assert Calibration().probabilities(scores) is scores


def test_reliability_is_read_off_bins_and_empty_ones_are_left_out() -> None:
    scores = np.array([0.95, 0.91, 0.31, 1.0], np.float32)
    low, high = reliability(scores, np.array([True, True, True, False]))
    assert (low.score, low.right, low.boxes) == (pytest.approx(0.31), 1.0, 1)
    assert (high.score, high.right, high.boxes) == (pytest.approx(0.9533, abs=1e-3), 2 / 3, 3)
