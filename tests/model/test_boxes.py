import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.boxes import (
    Box,
    Detections,
    FromLeft,
    iou_matrix,
    iou_of_pairs,
    overlapping,
    sides_of,
)
from model.judging.pairing import Pairs, any_class

EDGES = st.tuples(*[st.integers(0, 30)] * 4).map(
    lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]), max(e[1], e[3]))
)
BOXES = st.lists(EDGES, max_size=8).map(lambda b: np.array(b, np.float32).reshape(-1, 4))


def found(boxes, scores, labels=None, classes=("RBC", "WBC")):
    labels = np.zeros(len(scores), np.int64) if labels is None else np.array(labels)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(boxes, np.array(scores, np.float32), labels, classes)


def right_of(boxes, truth):
    """Say which boxes, best first, are right."""
    falling = np.linspace(1, 0, len(boxes))
    return Pairs.of([found(boxes, falling)], [np.array(truth, np.float32)]).right


def test_a_half_open_box_is_as_wide_as_the_pixels_it_covers():
    box = Box(3, 10, 6, 11, "Nucleus")
    assert (box.width, box.height) == (3, 1)
    assert box.centre == (4.5, 10.5)


def test_the_side_of_a_box_is_that_of_the_square_of_its_area():
    boxes = np.array([[0, 0, 4, 9], [5, 5, 5, 9], [0, 0, 0.5, 9]], np.float32)
    np.testing.assert_allclose(sides_of(boxes), [6, 0, 4.5**0.5])
    np.testing.assert_allclose(sides_of(boxes, least_px=1), [6, 2, 3])
    assert sides_of(boxes).dtype == np.float32


def test_iou_of_boxes_that_share_half_is_a_third():
    first = np.array([[0, 0, 10, 10]], np.float32)
    second = np.array([[5, 0, 15, 10], [10, 0, 20, 10], [3, 3, 3, 9]], np.float32)
    np.testing.assert_allclose(iou_matrix(first, second), [[1 / 3, 0, 0]], atol=1e-6)


@given(BOXES, BOXES)
def test_iou_is_symmetric_and_between_0_and_1(first, second):
    overlaps = iou_matrix(first, second)
    assert overlaps.shape == (len(first), len(second))
    assert ((overlaps >= 0) & (overlaps <= 1)).all()
    np.testing.assert_array_equal(overlaps, iou_matrix(second, first).T)


@given(BOXES)
def test_boxes_two_by_two_overlap_as_the_matrix_of_all_says(boxes):
    others = boxes[::-1]
    of_pairs = iou_of_pairs(boxes, others)
    np.testing.assert_array_equal(of_pairs, np.diagonal(iou_matrix(boxes, others)))


@given(BOXES, BOXES)
def test_the_pairs_that_overlap_are_those_of_the_whole_matrix(first, second):
    overlaps = iou_matrix(first, second)
    rows, columns = np.nonzero(overlaps >= 0.5)
    pairs = overlapping(first, second, 0.5)
    for one, other in zip(pairs, (rows, columns, overlaps[rows, columns]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_of_many_boxes_only_those_about_a_place_are_looked_at():
    lefts = np.random.default_rng(0).uniform(0, 1000, 1000)
    boxes = np.stack([lefts, lefts * 0, lefts + 15, lefts * 0 + 15], axis=1).astype(np.float32)
    near = FromLeft(boxes).near(400, 410)
    reaching = np.flatnonzero((boxes[:, 0] < 410) & (boxes[:, 2] > 400))
    assert set(reaching) <= set(near)
    assert len(near) < 60


def test_six_thousand_boxes_of_two_classes_are_compared_in_little_memory(peak_of):
    corners = np.stack(np.meshgrid(np.arange(60), np.arange(50)), axis=-1).reshape(-1, 2) * 20
    cells = np.concatenate([corners, corners + 15], axis=1).astype(np.float32)
    both = np.concatenate([cells, cells + 1])
    every = found(both, np.linspace(1, 0, len(both)), [0] * 3000 + [1] * 3000)
    (kept, right), peak = peak_of(lambda: (any_class(every), Pairs.of([every], [cells]).right))
    assert (len(kept), int(right.sum())) == (3000, 3000)
    assert peak < 100e6


def test_detections_above_a_threshold_include_the_threshold_itself():
    shown = found([[0, 0, 1, 1]] * 3, [0.75, 0.5, 0.25]).above(0.5)
    np.testing.assert_allclose(shown.scores, [0.75, 0.5])


def test_detections_become_boxes_with_their_class_and_score():
    boxes = found([[0, 1, 2, 3]], [0.5], labels=[1]).boxes()
    assert boxes == [Box(0, 1, 2, 3, "WBC", 0.5)]


@given(BOXES, BOXES)
def test_no_true_cell_is_counted_twice(boxes, truth):
    assert right_of(boxes, truth).sum() <= min(len(boxes), len(truth))


@given(BOXES, BOXES)
def test_the_answer_for_the_best_boxes_does_not_depend_on_the_rest(boxes, truth):
    whole = right_of(boxes, truth)
    for few in range(len(boxes)):
        np.testing.assert_array_equal(right_of(boxes[:few], truth), whole[:few])


def test_two_boxes_on_one_cell_are_one_right_and_one_wrong():
    cell = [0, 0, 10, 10]
    assert right_of([cell, cell], [cell]).tolist() == [True, False]


def test_a_box_takes_the_cell_it_overlaps_most_among_those_left():
    truth = [[0, 0, 10, 10], [2, 0, 12, 10]]
    assert right_of([[1.5, 0, 11.5, 10], [0, 0, 10, 10]], truth).tolist() == [True, True]


def test_where_two_classes_claim_a_cell_the_surer_one_stays():
    cell = [0, 0, 10, 10]
    both = found([cell, cell, [20, 0, 30, 10]], [0.9, 0.8, 0.7], labels=[1, 0, 0])
    assert [(b.label, b.xmin) for b in any_class(both).boxes()] == [("WBC", 0), ("RBC", 20)]


def test_boxes_of_one_class_are_left_as_the_detector_gave_them():
    cell = [0, 0, 10, 10]
    same = found([cell, cell, [20, 0, 30, 10]], [0.9, 0.8, 0.7], labels=[0, 0, 1])
    assert len(any_class(same)) == 3


@given(BOXES, st.integers(0, 10**6))
def test_a_box_is_left_unless_a_surer_one_of_another_class_is_left_on_its_cell(boxes, seed):
    labels = np.random.default_rng(seed).integers(0, 3, len(boxes))
    every = found(boxes, np.linspace(0.9, 0.1, len(boxes)), labels, ("RBC", "WBC", "Platelets"))
    left = any_class(every)
    rivals = iou_matrix(every.xyxy_px, left.xyxy_px) > 0.5
    rivals &= every.labels[:, None] != left.labels[None, :]
    rivals &= every.scores[:, None] < left.scores[None, :]
    assert (np.isin(every.scores, left.scores) == ~rivals.any(axis=1)).all()


def test_boxes_of_a_large_image_are_compared_in_little_memory(peak_of):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 8000, (5000, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 40, (5000, 2))], axis=1)
    many = found(boxes, np.linspace(1, 0, 5000), rng.integers(0, 2, 5000))
    assert peak_of(lambda: any_class(many))[1] < 5_000_000


def test_what_holds_arrays_is_compared_as_one_object_not_number_by_number():
    one, other = found([(0, 0, 5, 5), (1, 1, 6, 6)], [0.9, 0.8]), found([(0, 0, 5, 5)] * 2, [1, 1])
    assert one == one
    assert one != other
    assert Pairs.of([one], [one.xyxy_px]) != Pairs.of([other], [one.xyxy_px])
