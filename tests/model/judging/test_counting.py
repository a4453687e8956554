import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.judging.counting import between, count_report, counting_threshold
from model.judging.evaluation import evaluate

CELL = (10, 10, 30, 30)
OTHER = (50, 50, 70, 70)
NOWHERE = (200, 200, 220, 220)


def test_counts_that_cancel_over_the_images_still_are_errors():
    report = count_report(predicted=[12, 8, 1], true=[10, 10, 0])
    assert (report.error, report.bias) == (pytest.approx(5 / 20), pytest.approx(1 / 20))
    assert report.median_error == pytest.approx(0.2)


def test_the_best_threshold_lies_between_the_cells_and_the_rest(detections, labelled):
    found = detections([(*CELL, 0.8), (*OTHER, 0.6), (*NOWHERE, 0.2)])
    assert counting_threshold([found], [labelled([CELL, OTHER])]) == pytest.approx(0.4)


@pytest.mark.parametrize("rows", [[], [(*NOWHERE, 0.9)]])
def test_where_no_box_is_right_the_threshold_is_a_half(rows, detections, labelled):
    assert counting_threshold([detections(rows)], [labelled([CELL])]) == 0.5


@pytest.mark.integration
@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_no_other_threshold_has_a_clearly_better_f1(seed, detections, labelled, field_of):
    rng = np.random.default_rng(seed)
    truth, rows = field_of(rng, 12)
    found, image = detections(rows), labelled(truth)

    def f1(threshold):
        return evaluate([found], [image], (), threshold).f1

    best = f1(counting_threshold([found], [image]))
    assert best >= max(f1(threshold) for threshold in np.linspace(0, 1, 21)) - 0.01 - 1e-6


def test_between_two_thresholds_is_a_mean_of_odds():
    assert between(0.2, 1, 0.8, 1) == pytest.approx(0.5)
    assert between(0.2, 1, 0.8, 3) == pytest.approx(2 / 3)
    assert between(0.0, 1, 0.5, 1) < 0.02
    assert between(1.0, 1, 0.5, 1) > 0.98
    assert between(0.3, 5, 0.9, 0) == pytest.approx(0.3)


def test_of_thresholds_as_good_the_one_that_counts_right_is_taken(detections, labelled):
    cells = [(20 * n, 0, 20 * n + 10, 10) for n in range(200)]
    beside = [(20 * n, 50, 20 * n + 10, 60, 0.5 - 0.05 * n) for n in range(3)]
    # Without the three false boxes F1 is 0.992; with them, as many as there are cells, 0.985.
    rows = [(*cell, 0.9) for cell in cells[:197]] + beside
    found, image = detections(rows), labelled(cells)
    assert counting_threshold([found], [image]) == pytest.approx(0.2)
    assert counting_threshold([found], [image], as_good=0.0) == pytest.approx(0.7)
