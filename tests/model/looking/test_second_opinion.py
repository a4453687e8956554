from dataclasses import dataclass, replace

import numpy as np
import pytest

from model.boxes import Detections
from model.keeping.starter import FOLDER
from model.keeping.version_folder import read_version
from model.looking.second_opinion import ALONE, PART, TRUST, SecondedDetector, together


def test_what_both_find_is_likelier_and_lies_between_them(detections):
    ours, theirs = detections([(0, 0, 10, 10, 0.5)]), detections([(0, 0, 12, 10, 1.0)])
    found = together(ours, theirs)
    np.testing.assert_allclose(found.xyxy_px, [[0, 0, 10 + 2 * PART, 10]], rtol=1e-6)
    odds = 1 + TRUST  # of an even chance
    np.testing.assert_allclose(found.scores, [odds / (1 + odds)], rtol=1e-6)
    assert (ours.xyxy_px[0, 2], ours.scores[0]) == (10, 0.5)  # what it found itself is kept


def test_what_only_the_first_finds_stays_as_it_is(detections):
    found = together(detections([(0, 0, 10, 10, 0.7)]), detections([(40, 0, 50, 10, 0.2)]))
    np.testing.assert_allclose(found.xyxy_px[0], [0, 0, 10, 10])
    np.testing.assert_allclose(found.scores, [0.7, 0.2 * ALONE])


def test_the_second_alone_makes_no_box_count(detections):
    found = together(detections([]), detections([(0, 0, 10, 10, 1.0)]))
    assert found.scores.tolist() == pytest.approx([ALONE])
    assert read_version(FOLDER).threshold > ALONE


def test_what_both_find_is_no_less_likely_than_what_the_second_finds_alone(detections):
    found = together(detections([(0, 0, 10, 10, 0.01)]), detections([(0, 0, 10, 10, 0.9)]))
    assert found.scores.tolist() == pytest.approx([0.9 * ALONE])


def test_of_two_boxes_that_overlap_it_about_as_well_the_surer_is_agreed_with(detections):
    ours = detections([(0, 0, 10, 10, 0.5), (0, 0, 10, 12, 0.01)])
    found = together(ours, detections([(0, 0, 10, 13, 0.9)]))
    assert found.scores[0] > 0.5
    assert found.scores[1] == np.float32(0.01)


def test_one_box_of_the_second_agrees_with_one_of_the_first_alone(detections):
    ours = detections([(0, 0, 10, 10, 0.6), (0, 0, 10, 14, 0.5)])
    found = together(ours, detections([(0, 0, 10, 13, 0.8)]))
    assert len(found) == 2
    assert found.scores[1] == np.float32(0.6)  # the lower box was agreed with, and is first now


def test_what_overlaps_a_box_that_is_taken_is_no_further_cell(detections):
    theirs = detections([(0, 0, 10, 10, 0.9), (0, 0, 10, 9, 0.8)])
    found = together(detections([(0, 0, 10, 10, 0.6)]), theirs)
    odds = (1 + TRUST * 0.9) * 1.5  # nor has it a say
    np.testing.assert_allclose(found.scores, [odds / (1 + odds)], rtol=1e-6)


def test_what_a_cap_cut_is_as_likely_as_the_second_could_have_made_it(detections):
    faint, box = {"detections_per_image": 0.2, "rpn_post_nms": 1.0}, (0, 0, 10, 10)
    ours = replace(detections([(*box, 0.2)]), caps_reached=faint)
    found = together(ours, detections([(*box, 1.0)]))
    assert found.caps_reached == pytest.approx(
        {"detections_per_image": found.scores[0], "rpn_post_nms": 1.0}
    )


@pytest.mark.parametrize("empty", ["first", "second", "both"])
def test_one_may_find_nothing(detections, empty):
    some, none = detections([(0, 0, 10, 10, 0.6)]), detections([])
    ours = none if empty in ("first", "both") else some
    theirs = none if empty in ("second", "both") else some
    assert len(together(ours, theirs)) == (empty != "both")


def test_each_image_has_the_opinion_on_itself(detections):
    @dataclass
    class Finds:
        boxes: list
        classes: tuple = ("Nucleus",)

        def detect(self, images) -> list[Detections]:
            return [detections(self.boxes[n]) for n in range(len(images))]

    first = Finds([[(0, 0, 9, 9, 0.5)], [(0, 0, 9, 9, 0.5)]])
    second = Finds([[], [(0, 0, 9, 9, 1.0)]])
    alone, agreed_on = SecondedDetector(first, second).detect([None, None])
    assert alone.scores[0] == 0.5 < agreed_on.scores[0]
