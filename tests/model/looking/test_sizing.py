from dataclasses import dataclass, replace

import numpy as np
import pytest

from model.boxes import CELL, Detections
from model.classical.detector import classical_version
from model.config import DetectorConfig
from model.looking.loaded import LoadedVersion
from model.looking.sizing import UNSIZED_PX, at_found_scale, find_scale, looks
from model.rcnn.scale import scale_for
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import SIZE_UNKNOWN, prepare

CONFIG = DetectorConfig(cell_px=48, small_cell_px=32, enlargement=3)


@dataclass
class Sees:
    """Finds cells of one side on a grid, where they have between 20 and 90 pixels."""

    side: float
    pitch: float
    also_the_whole: bool = False
    also_parts: bool = False
    also_clumps: bool = False
    scores: tuple[float, float] = (0.9, 0.6)
    classes: tuple[str, ...] = (CELL,)

    def detect(self, images):
        return [self._of(image) for image in images]

    def _of(self, image):
        apparent, pitch = self.side * image.scale, self.pitch * image.scale
        rows, scores = [], []
        if 20 <= apparent <= 90:
            for x in np.arange(0, image.width - apparent, pitch):
                for y in np.arange(0, image.height - apparent, pitch):
                    rows.append((x, y, x + apparent, y + apparent))
                    scores.append(self.scores[0 if 30 <= apparent <= 60 else 1])
        if self.also_the_whole and max(image.width, image.height) < 200:
            rows.append((0, 0, image.width, image.height))
            scores.append(0.95)
        if self.also_parts and image.scale == CONFIG.enlargement:
            rows += [(x, y, x + 90, y + 90) for x in range(0, 700, 90) for y in range(0, 700, 90)]
            scores += [0.99] * (len(rows) - len(scores))
        if self.also_clumps and 10 <= apparent < 20:
            clump = 2.2 * apparent
            corners = np.arange(0, min(image.width, image.height) - clump, clump)
            rows += [(x, y, x + clump, y + clump) for x in corners for y in corners]
            scores += [0.9] * (len(rows) - len(scores))
        edges = np.array(rows, np.float32).reshape(-1, 4)
        number = len(rows)
        return Detections(
            edges, np.array(scores, np.float32), np.zeros(number, np.int64), self.classes
        )


def raw(height=600, width=800):
    pixels = np.random.default_rng(0).integers(0, 255, (height, width)).astype(np.uint8)
    return ImageRecord(pixels, "")


def image(height=600, width=800):
    return prepare(raw(height, width), ContrastGroups.none())


@pytest.mark.parametrize("side", [8, 15, 40, 110, 250])
def test_the_scale_is_that_of_the_cells_that_are_there(side):
    found = find_scale(image(), Sees(side, 1.2 * side), CONFIG)
    assert found == pytest.approx(scale_for(np.array([side]), CONFIG), rel=0.15)


@pytest.mark.parametrize(("side", "pitch"), [(15, 30), (40, 1000)])
def test_one_box_round_all_of_a_shrunken_image_is_no_cell(side, pitch):
    found = find_scale(image(), Sees(side, pitch, also_the_whole=True), CONFIG)
    assert found == pytest.approx(scale_for(np.array([side]), CONFIG), rel=0.15)


def test_what_fills_an_image_from_too_near_is_no_cell():
    found = find_scale(image(), Sees(40, 60, also_parts=True), CONFIG)
    assert found == pytest.approx(scale_for(np.array([40]), CONFIG), rel=0.15)


def test_clumps_that_look_like_cells_from_too_far_are_no_cells():
    found = find_scale(image(), Sees(40, 60, also_clumps=True), CONFIG)
    assert found == pytest.approx(scale_for(np.array([40]), CONFIG), rel=0.15)


class SeesOnceEach(Sees):
    """Finds four cells of 27 raw pixels at their best; in another look four of 213, too large."""

    def _of(self, image):
        side = {1.5: 40, 0.75: 160}.get(image.scale)
        places = [(x, y) for x in (0, 200) for y in (0, 200)] if side else []
        edges = np.array([(x, y, x + side, y + side) for x, y in places], np.float32).reshape(-1, 4)
        scores, labels = np.full(len(edges), 0.9, np.float32), np.zeros(len(edges), np.int64)
        return Detections(edges, scores, labels, self.classes)


def test_boxes_far_from_the_size_at_which_a_detector_knows_cells_are_hardly_believed():
    found = find_scale(image(), SeesOnceEach(27, 200), CONFIG)
    assert found == pytest.approx(scale_for(np.array([40 / 1.5]), CONFIG), rel=0.15)


def test_where_nothing_is_found_the_image_is_seen_as_it_is_or_shrunk_and_flagged():
    nothing = Sees(1000, 2000)
    assert find_scale(image(), nothing, CONFIG) is None
    for width, scale in ((800, 1.0), (2 * UNSIZED_PX, 0.5)):
        seen = at_found_scale(image(200, width), nothing, CONFIG)
        assert (seen.scale, seen.flags) == (scale, (SIZE_UNKNOWN,))


def test_an_image_whose_cells_are_found_is_not_flagged():
    seen = at_found_scale(image(), Sees(40, 60), CONFIG)
    assert (seen.scale, seen.flags) == (pytest.approx(1.0, rel=0.15), ())


def test_next_to_nothing_tells_no_size():
    faint = Sees(40, 60, scores=(0.26, 0.26))
    few = replace(faint, pitch=300)
    assert find_scale(image(), faint, CONFIG) is not None
    assert find_scale(image(), few, CONFIG) is None


def test_the_looks_go_from_the_largest_scale_down_to_an_image_of_a_few_pixels():
    scales = list(looks(image(), CONFIG))
    assert scales[0] == 3
    assert scales == sorted(scales, reverse=True)
    assert 96 <= 800 * scales[-1] < 96 * 1.6


@pytest.mark.parametrize(
    ("side", "pitch", "unlike"),
    [(8, 12, True), (30, 400, False), (160, 200, True), (5000, 5000, False)],
)
def test_a_version_that_hardly_finds_a_cell_says_whether_there_are_others_of_another_size(
    side, pitch, unlike
):
    """Of 5000 px there is none."""
    at_two = replace(CONFIG, scale=2.0, turned_px=0)
    learned = replace(classical_version(), cell_sides_px=(20.0, 25.0), detector=at_two)
    (found,) = LoadedVersion(learned, ContrastGroups.none(), Sees(side, pitch)).find([raw()])
    assert len(found.detections) < 5
    assert found.is_unlike_size == unlike
