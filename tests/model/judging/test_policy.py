from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.boxes import Detections
from model.classical.detector import classical_version
from model.judging.calibration import Calibration
from model.judging.evaluation import evaluate
from model.judging.policy import Policy, saves_time_from, version_of


def found(*scores: float) -> Detections:
    edges = np.tile(np.array([[0, 0, 5, 5]], np.float32), (len(scores), 1))
    labels = np.zeros(len(scores), np.int64)
    return Detections(edges, np.array(scores, np.float32), labels, ("Cell",))


def test_a_version_is_served_under_a_name_that_changes_with_its_threshold() -> None:
    version = classical_version()

    assert Policy(0.5).served_name(version) == "classical-1+t0.5"
    assert Policy(0.5).id != Policy(0.51).id


def test_boxes_from_the_threshold_on_are_shown() -> None:
    assert list(Policy(0.5).shown(found(0.9, 0.5, 0.4)).scores) == pytest.approx([0.9, 0.5])


@pytest.mark.parametrize(
    ("less", "more"),
    [((0.99, 0.98), (0.6, 0.55)), ((0.95,), (0.95, 0.45)), ((0.9,) * 10, (0.9,) * 20)],
)
def test_the_more_an_image_is_expected_to_need_the_lower_is_its_score(
    less: tuple[float, ...], more: tuple[float, ...]
) -> None:
    policy = Policy(0.5)

    assert 0 < policy.certainty(found(*more)) < policy.certainty(found(*less)) <= 1


def test_what_is_shown_may_be_wrong_and_a_near_miss_may_be_a_cell() -> None:
    policy = Policy(0.5)

    assert policy.corrections(found(0.9, 0.6, 0.3)) == pytest.approx(0.1 + 0.4 + 0.3)
    assert policy.certainty(found(0.9, 0.6, 0.3)) == pytest.approx(50 / 50.8)
    generous = Policy(0.5, 0.2)
    assert generous.corrections(found(0.9, 0.3, 0.15, 0.05)) == pytest.approx(0.1 + 0.7 + 0.15)


def test_hopeless_candidates_do_not_make_an_image_look_laborious() -> None:
    policy = Policy(0.5)

    assert policy.certainty(found(0.55, *[0.03] * 200)) == policy.certainty(found(0.55))


def test_an_image_in_which_nothing_was_found_stands_as_if_one_box_were_wrong() -> None:
    assert Policy(0.4).corrections(found()) == 1
    assert Policy(0.4).corrections(found(0.19)) == 1


def test_an_image_that_weighs_twice_stands_as_if_twice_as_much_were_to_be_corrected() -> None:
    policy = Policy(0.5)

    twice = policy.certainty(found(0.8), weight=2)
    assert twice == pytest.approx(policy.certainty(found(0.8, 0.8)))


FITTED = Policy(0.6, 0.3, Calibration(0.5, -0.2, {"low": 1.0}))


@pytest.mark.parametrize(("group", "best"), [("low", 0.2), ("other", 0.3), ("other", 0.7)])
def test_a_cap_is_told_where_a_box_that_it_cut_would_be_shown(group: str, best: float) -> None:
    capped = replace(found(0.9), caps_reached={"detections_per_image": best})

    assert FITTED.caps_reached(capped, group) == ("detections_per_image",)


@pytest.mark.parametrize(("group", "best"), [("low", 0.02), ("other", 0.2)])
def test_a_cap_is_not_told_where_it_cut_nothing_that_would_be_shown(
    group: str, best: float
) -> None:
    capped = replace(found(0.9), caps_reached={"detections_per_image": best})

    assert not FITTED.caps_reached(capped, group)


def test_a_box_is_shown_by_its_probability_and_says_it() -> None:
    shown = FITTED.shown(found(0.9, 0.4, 0.1), "other")
    assert list(shown.scores) == pytest.approx([0.7108, 0.4007], abs=1e-3)
    assert len(FITTED.shown(found(0.9, 0.4, 0.1), "low")) == 3


def test_what_counts_is_shown_however_unlikely_it_is() -> None:
    doubtful = Policy(0.5, 0.9, Calibration(1.0, -3.0))
    assert len(doubtful.shown(found(0.6, 0.4))) == 1
    assert doubtful.counted_probability() == pytest.approx(0.0474, abs=1e-4)
    assert doubtful.corrections(found(*[0.6] * 10)) == pytest.approx(10 * (1 - 0.0695), abs=1e-2)


def test_of_two_classes_on_one_cell_the_likelier_alone_is_shown_and_tells_how_sure_it_is() -> None:
    alone = found(0.55)
    rivals = replace(found(0.55, 0.35), labels=np.array([0, 1]), classes=("Healthy", "Unhealthy"))
    lenient = Policy(0.5, 0.22)
    assert [box.label for box in lenient.shown(rivals).boxes()] == ["Healthy"]
    assert lenient.corrections(rivals) == pytest.approx(lenient.corrections(alone))


@given(seed=st.integers(0, 10**6), counted_from=st.sampled_from([0.1, 0.5, 0.8]))
def test_of_what_is_shown_as_many_boxes_count_as_an_evaluation_counts(
    seed: int, counted_from: float, labelled: Any, detections: Any, field_of: Any
) -> None:
    rng = np.random.default_rng(seed)
    truth, rows = field_of(rng, 12)
    several = [(*row, str(rng.choice(["RBC", "WBC"]))) for row in rows]
    boxes = detections(several, classes=("RBC", "WBC"))
    judged = evaluate([boxes], [labelled(truth)], ("RBC", "WBC"), counted_from)
    generous = Policy(counted_from, 0.05, Calibration(0.8, 0.3))
    counts = generous.shown(boxes).scores >= generous.counted_probability()
    assert int(counts.sum()) == len(Policy(counted_from).shown(boxes)) == judged.count.predicted


def test_a_policy_comes_back_from_json_under_the_same_name() -> None:
    again = Policy.from_json(json.loads(json.dumps(FITTED.to_json())))
    assert again == FITTED
    assert again.id == FITTED.id
    assert FITTED.id.startswith("p0.30-")
    assert replace(FITTED, calibration=Calibration(0.5, -0.2)).id != FITTED.id


def test_another_cell_diameter_is_served_under_another_name() -> None:
    told = replace(FITTED, cell_diameter_px=40.0)
    assert told.id != FITTED.id
    assert replace(Policy(0.5), cell_diameter_px=40.0).id != Policy(0.5).id
    assert Policy.from_json(json.loads(json.dumps(told.to_json()))) == told


def test_the_name_of_a_served_version_begins_with_its_id() -> None:
    assert version_of(FITTED.served_name(classical_version())) == "classical-1"


@pytest.mark.parametrize("right_s", [0.5, 2.0, 4.0])
def test_from_the_chosen_probability_on_showing_a_box_takes_no_longer_than_not(
    right_s: float,
) -> None:
    chosen = saves_time_from(add_s=7.0, delete_s=1.5, right_s=right_s)
    shown = chosen * right_s + (1 - chosen) * 1.5
    assert shown == pytest.approx(chosen * 7.0)


def test_a_box_that_is_slower_to_mend_than_to_draw_is_not_worth_showing() -> None:
    assert saves_time_from(add_s=3.0, delete_s=1.5, right_s=4.0) == 1.0
