from dataclasses import replace

import numpy as np
import pytest

from model.judging.pairing import Pairs
from model.judging.precision import IOUS, average_precision
from model.judging.resampling import (
    count_error,
    draw_weights,
    interval,
    resampled_ap,
    resampled_mean_ap,
)
from model.reports import Interval


@pytest.fixture(scope="module")
def fields(detections, field_of):
    """Found and true boxes of eight images, one of them without a cell."""
    rng = np.random.default_rng(7)
    made = [field_of(rng, cells) for cells in (3, 40, 12, 25, 7, 60, 18)]
    found = [detections(rows) for _, rows in made] + [detections([(5, 5, 20, 20, 0.5)])]
    truth = [np.asarray(boxes, np.float32) for boxes, _ in made] + [np.zeros((0, 4), np.float32)]
    return found, truth


def with_distinct_scores(found):
    return replace(found, scores=found.scores - np.arange(len(found), dtype=np.float32) / 5000)


def test_the_ap50_of_a_resample_is_that_of_the_images_drawn(fields):
    # Where two boxes of one image have equal scores, COCO counts them by turns of its copies.
    found, truth = [with_distinct_scores(each) for each in fields[0]], fields[1]
    weights = draw_weights(len(truth), resamples=20)
    ours = resampled_ap(Pairs.of(found, truth), weights)
    for row, value in zip(weights.astype(int), ours, strict=True):
        drawn = np.repeat(np.arange(len(truth)), row)
        again = [found[i] for i in drawn], [truth[i] for i in drawn]
        coco = average_precision(Pairs.at(*again, IOUS)).ap50
        assert value == pytest.approx(coco, abs=1e-6)


def test_a_resample_without_a_cell_has_no_precision(fields):
    found, truth = fields
    only_the_empty = np.eye(len(truth))[[-1]]
    assert np.isnan(resampled_ap(Pairs.of(found, truth), only_the_empty)).all()


def test_a_class_of_which_a_resample_has_no_cell_is_left_out_of_its_mean(fields):
    found, truth = fields
    in_the_first_alone = [truth[0], *[truth[-1]] * 7]
    often, rare = Pairs.of(found, truth), Pairs.of(found, in_the_first_alone)
    weights = np.eye(8)[[0, 1, -1]]
    both, other, none = resampled_mean_ap([often, rare], weights)
    (of_often, of_other, _), (of_rare, *_) = (resampled_ap(each, weights) for each in (often, rare))
    assert both == pytest.approx((of_often + of_rare) / 2)
    assert (other, np.isnan(none)) == (of_other, True)


def test_the_count_error_of_a_resample_is_that_of_the_images_drawn():
    errors = count_error(np.array([12, 5]), np.array([10, 5]), np.array([[1, 1], [2, 0], [0, 2.0]]))
    assert errors == pytest.approx([2 / 15, 4 / 20, 0.0])


def test_every_resample_draws_as_many_images_as_there_are_and_always_the_same():
    weights = draw_weights(13)
    assert weights.shape == (1000, 13)
    assert set(weights.sum(axis=1)) == {13.0}
    assert np.array_equal(weights, draw_weights(13))


def test_the_interval_of_a_mean_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    weights = draw_weights(60) / 60
    samples = rng.normal(0, 1, (300, 60))
    intervals = [interval(weights @ sample) for sample in samples]
    covered = np.mean([i.low <= 0 <= i.high for i in intervals])
    assert 0.90 <= covered <= 0.98


def test_an_interval_leaves_out_what_is_not_known():
    assert interval(np.array([np.nan, 0.5, 0.5])) == Interval(0.5, 0.5)
    assert interval(np.array([np.nan])) is None


def dense_images(seed):
    """Pairs of a hundred images of a hundred cells, three boxes a cell and one in three right."""
    rng, boxes = np.random.default_rng(seed), 30_000
    scores = np.sort(rng.random(boxes).astype(np.float32))[::-1]
    return Pairs(scores, rng.random(boxes) < 0.3, rng.integers(0, 100, boxes), np.full(100, 100))


def test_a_thousand_resamples_of_many_images_are_held_in_little_memory(peak_of):
    rng, boxes = np.random.default_rng(3), 20_000
    scores = np.sort(rng.random(boxes).astype(np.float32))[::-1]
    pairs = Pairs(scores, rng.random(boxes) < 0.8, rng.integers(0, 500, boxes), np.full(500, 40))
    weights = draw_weights(500)
    values, held = peak_of(lambda: resampled_ap(pairs, weights))
    assert held < 30e6
    assert np.array_equal(values[:3], [resampled_ap(pairs, one[None])[0] for one in weights[:3]])


@pytest.mark.integration
def test_a_thousand_resamples_of_a_hundred_dense_images_differ_as_sets_of_such_images_do():
    values = resampled_ap(dense_images(0), draw_weights(100))
    assert values.shape == (1000,)
    sets = [resampled_ap(dense_images(seed), np.ones((1, 100)))[0] for seed in range(1, 51)]
    assert values.std() == pytest.approx(np.std(sets), rel=0.3)
