from __future__ import annotations

import numpy as np
import pytest

from backend.serving.policy import Policy
from model.boxes import Detections
from model.classical import classical_version


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
    ("sure", "doubtful"),
    [((0.99, 0.98), (0.6, 0.55)), ((0.95,), (0.95, 0.45)), ((), (0.3,)), ((0.1,), (0.48,))],
)
def test_the_more_doubtful_of_two_images_has_the_lower_score(
    sure: tuple[float, ...], doubtful: tuple[float, ...]
) -> None:
    policy = Policy(0.5)

    assert policy.certainty(found(*doubtful)) < policy.certainty(found(*sure)) <= 1


def test_hopeless_candidates_do_not_make_an_image_look_sure() -> None:
    policy = Policy(0.5)

    assert policy.certainty(found(0.55, *[0.03] * 200)) == policy.certainty(found(0.55))
