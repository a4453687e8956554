from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from model.boxes import Detections
from model.looking.turning import QUARTERS, TurningDetector, agreed, turn, turned_back
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import prepare

CELLS = np.array([[3, 5, 9, 17], [20, 2, 32, 10], [11, 22, 25, 29]], np.float32)


def image_of(boxes, height=30, width=40):
    pixels = np.zeros((height, width), np.uint8)
    for n, (left, top, right, bottom) in enumerate(boxes.astype(int)):
        pixels[top:bottom, left:right] = 255 - 40 * n
    return prepare(ImageRecord(pixels, "00"), ContrastGroups.none())


@dataclass
class ReadsOff:
    """Finds each level of an image that is neither black nor nowhere, whichever way up."""

    classes: tuple = ("cell",)
    shown: list = field(default_factory=list)

    def detect(self, images):
        self.shown += [image.pixels.shape for image in images]
        return [self._seen(image.pixels) for image in images]

    def _seen(self, pixels):
        rows = []
        for level in np.unique(pixels)[:0:-1]:
            y, x = np.nonzero(pixels == level)
            rows.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
        scores = np.linspace(0.9, 0.8, len(rows), dtype=np.float32)
        return Detections(
            np.array(rows, np.float32), scores, np.zeros(len(rows), np.int64), self.classes
        )


@pytest.mark.parametrize("quarters", range(QUARTERS))
def test_what_is_found_in_a_turned_image_lies_where_it_does_in_the_upright_one(quarters):
    turned = turn(image_of(CELLS), quarters)
    assert (turned.raw_height, turned.raw_width) == turned.pixels.shape
    (found,) = ReadsOff().detect([turned])
    np.testing.assert_array_equal(turned_back(found, turned, quarters).xyxy_px, CELLS)


@pytest.mark.parametrize(("turned_px", "looks"), [(1200, QUARTERS), (1199, 1), (0, 1)])
def test_an_image_that_is_small_enough_is_looked_at_in_four_quarter_turns(turned_px, looks):
    detector = ReadsOff()
    turning = TurningDetector(detector, turned_px)
    (found,) = turning.detect([image_of(CELLS)])
    assert detector.shown == [(30, 40), (40, 30), (30, 40), (40, 30)][:looks]
    np.testing.assert_allclose(found.xyxy_px, CELLS)
    np.testing.assert_allclose(found.scores, [0.9, 0.85, 0.8], rtol=1e-6)


def test_what_one_look_of_four_finds_has_a_quarter_of_its_score(detections):
    seen = detections([(0, 0, 10, 10, 0.8), (50, 50, 60, 60, 0.6)])
    once = detections([(0, 0, 10, 10, 0.4)])
    found = agreed([seen, once, once, once])
    np.testing.assert_allclose(found.xyxy_px, [[0, 0, 10, 10], [50, 50, 60, 60]])
    np.testing.assert_allclose(found.scores, [0.5, 0.15])


def test_boxes_about_one_cell_become_their_mean_by_score(detections):
    found = agreed([detections([(0, 0, 10, 10, 0.6)]), detections([(2, 0, 12, 10, 0.3)])])
    np.testing.assert_allclose(found.xyxy_px, [[2 / 3, 0, 10 + 2 / 3, 10]], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.45])


def test_two_boxes_of_one_look_about_one_cell_count_once(detections):
    doubled = detections([(0, 0, 10, 10, 0.8), (1, 0, 11, 10, 0.6)])
    found = agreed([doubled, detections([(0, 0, 10, 10, 0.8)])])
    np.testing.assert_allclose(found.scores, [0.8])


def test_cells_that_touch_stay_two(detections):
    both = detections([(0, 0, 10, 10, 0.9), (4, 0, 14, 10, 0.8)])  # IoU 0.43
    assert len(agreed([both] * QUARTERS)) == 2


def test_boxes_of_several_classes_are_not_mixed(detections):
    one, other = (
        detections([(0, 0, 10, 10, 0.8, name)], classes=("RBC", "WBC")) for name in ("RBC", "WBC")
    )
    found = agreed([one, other])
    assert sorted(box.label for box in found.boxes()) == ["RBC", "WBC"]
    np.testing.assert_allclose(found.scores, [0.4, 0.4])
    rows = [(0, 0, 10, 10, 0.8, "RBC"), (50, 0, 60, 10, 0.7, "WBC"), (90, 0, 99, 10, 0.6, "RBC")]
    every = agreed([detections(rows, classes=("RBC", "WBC"))] * QUARTERS)
    assert [box.label for box in every.boxes()] == ["RBC", "WBC", "RBC"]


def test_a_cap_that_some_looks_reached_is_told_with_the_best_that_any_of_them_lost(detections):
    free = detections([(0, 0, 9, 9, 0.9)])
    more, less = (replace(free, caps_reached={"detections_per_image": s}) for s in (0.4, 0.3))
    assert agreed([free, less, more, less]).caps_reached == {"detections_per_image": 0.4}


def test_an_image_without_a_cell_has_none(detections):
    assert len(agreed([detections([])] * QUARTERS)) == 0


def test_thousands_of_boxes_take_little_memory(peak_of, detections):
    corners = np.random.default_rng(0).uniform(0, 2000, (1500, 2)).astype(np.float32)
    crowd = detections([(x, y, x + 20, y + 20, 0.5) for x, y in corners.tolist()])
    found, most = peak_of(lambda: agreed([crowd] * QUARTERS))
    assert 1000 < len(found) <= 1500
    assert most < 40e6  # all pairs at once would be 144 MB
