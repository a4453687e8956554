from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from model.boxes import Detections, iou_matrix
from model.classical.detector import THRESHOLD, ClassicalDetector, classical_version
from model.config import DetectorConfig
from model.generated.fields import EASY, HIGH, MEDIUM, generate_field
from model.looking.loaded import LoadedVersion
from model.looking.seams import merge
from model.looking.tiling import TILE_PX, TiledDetector, lay_out, middle
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import Prepared, prepare

SIDE, TILE, OVERLAP = 1500, 400, 80


class Perfect:
    """Sees of each cell exactly what lies in the image it is shown.

    Where it looks it reads off the pixels, which hold their own place: a number for each.
    """

    classes = ("cell",)

    def __init__(self, truth, width=SIDE, jitter=0.0):
        self.truth = np.asarray(truth, np.float32).reshape(-1, 4)
        self.width, self.shown = width, []
        self.jitter, self.rng = jitter, np.random.default_rng(0)

    def detect(self, images):
        return [self._seen(image) for image in images]

    def _seen(self, image):
        self.shown.append((image.height, image.width))
        top, left = divmod(int(image.pixels[0, 0]), self.width)
        size = [image.width, image.height] * 2
        edges = np.clip(self.truth - np.float32([left, top] * 2), 0, size)
        sides = edges[:, 2:] - edges[:, :2]
        seen, sides = edges[sides.min(axis=1) > 0], sides[sides.min(axis=1) > 0]
        wrong = self.rng.uniform(-self.jitter, self.jitter, seen.shape) * np.tile(sides, 2)
        seen = np.clip(seen + wrong, 0, size).astype(np.float32)
        scores = np.sort(self.rng.uniform(0.5, 1, len(seen)).astype(np.float32))[::-1]
        labels = np.zeros(len(seen), np.int64)
        return Detections(seen, scores, labels, self.classes)


@cache
def places(height=SIDE, width=SIDE):
    """An image whose pixels are their own places (exact in float32 up to 2**24)."""
    pixels = np.arange(height * width, dtype=np.float32).reshape(height, width)
    return Prepared(pixels, 1.0, "all", 0.0, (), height, width)


def by_tiles(truth, cell_px=OVERLAP / 2, **fields):
    (found,) = TiledDetector(Perfect(truth, **fields), cell_px, TILE).detect([places()])
    return found


@cache
def crowd():
    """The boxes of cells of which many touch."""
    field = generate_field(5, (SIDE, SIDE), 1200, replace(MEDIUM, touching=0.4))
    return np.array([box.xyxy_px for box in field.boxes], np.float32)


def rows_of(boxes):
    return np.asarray(sorted(np.asarray(boxes, np.float32).reshape(-1, 4).tolist()), np.float32)


def centred(x, y, width, height):
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def seams(cell_px=OVERLAP / 2):
    tiles = lay_out(SIDE, SIDE, TILE, round(2 * cell_px))
    return sorted({tile.core[1] for tile in tiles if np.isfinite(tile.core[1])})


# The layout


@given(st.integers(1, 6000), st.integers(1, 6000), st.integers(64, 1500), st.floats(0, 0.5))
@settings(max_examples=200, deadline=None)
def test_tiles_cover_the_image_and_share_what_they_should(height, width, tile_px, share):
    overlap = round(share * tile_px)
    tiles = lay_out(height, width, tile_px, overlap)
    for low, high, side in (("left", "right", width), ("top", "bottom", height)):
        spans = sorted({(getattr(t, low), getattr(t, high)) for t in tiles})
        assert spans[0][0] == 0
        assert spans[-1][1] == side
        assert all(end - start <= tile_px for start, end in spans)
        shared = [end - start for (_, end), (start, _) in pairwise(spans)]
        assert all(each >= overlap for each in shared)


def test_cores_part_the_image_in_the_middle_of_what_is_shared():
    tiles = lay_out(300, 1000, 400, 100)
    assert [(t.left, t.right) for t in tiles] == [(0, 400), (300, 700), (600, 1000)]
    assert [t.core[:2] for t in tiles] == [(-np.inf, 350), (350, 650), (650, np.inf)]
    assert {t.core[2:] for t in tiles} == {(-np.inf, np.inf)}


def test_an_image_at_the_limit_is_seen_whole_and_one_pixel_more_by_tiles():
    perfect = Perfect([(10, 10, 40, 40)], TILE_PX)
    TiledDetector(perfect, 40.0).detect([places(TILE_PX, TILE_PX)])
    assert perfect.shown == [(TILE_PX, TILE_PX)]
    perfect.shown, perfect.width = [], TILE_PX + 1
    TiledDetector(perfect, 40.0).detect([places(TILE_PX, TILE_PX + 1)])
    assert len(perfect.shown) == 2
    assert all(height == TILE_PX and width < TILE_PX for height, width in perfect.shown)


def test_small_and_large_images_keep_their_order():
    truth = [(5, 5, 25, 25)]
    perfect = Perfect(truth, TILE)
    small, large = places(TILE, TILE), places(2 * TILE, TILE)
    found = TiledDetector(perfect, 40.0, TILE).detect([large, small, large])
    assert perfect.shown[0] == (TILE, TILE)
    assert len(perfect.shown) == 1 + 2 * len(lay_out(2 * TILE, TILE, TILE, 80))
    assert [len(each) for each in found] == [1, 1, 1]


def test_before_each_tile_of_a_large_image_it_is_told_how_many_are_done():
    told = []
    perfect = Perfect([], TILE)
    looking = TiledDetector(perfect, 40.0, TILE, on_tile=lambda *so_far: told.append(so_far))
    looking.detect([places(TILE, TILE), places(2 * TILE, TILE)])
    assert told == [(0, 3), (1, 3), (2, 3)]


def test_no_image_gives_nothing():
    assert TiledDetector(Perfect([]), 40.0, TILE).detect([]) == []


def test_an_image_without_cells_gives_nothing():
    found = by_tiles([])
    assert (len(found), found.classes, found.xyxy_px.shape) == (0, ("cell",), (0, 4))


# A cell on a seam counts once


@pytest.mark.integration
def test_every_cell_of_a_large_field_counts_exactly_once():
    truth = crowd()
    found = by_tiles(truth)
    np.testing.assert_array_equal(rows_of(found.xyxy_px), rows_of(truth))
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.integration
@pytest.mark.parametrize("side", [4, 25, 40, 79, 80])
def test_a_cell_as_large_as_what_tiles_share_counts_once_at_every_place_across_a_seam(side):
    seam = seams()[1]
    for away in range(-side, side + 1):
        truth = [centred(seam + away, 200, side, side)]
        np.testing.assert_array_equal(by_tiles(truth).xyxy_px, np.float32(truth))


@pytest.mark.parametrize("side", [81, 100, 160, 250])
def test_a_cell_larger_than_what_tiles_share_is_put_together(side):
    seam = seams()[1]
    for away in range(-side, side + 1, 3):
        truth = [centred(seam + away, 200, side, 60)]
        np.testing.assert_array_equal(by_tiles(truth).xyxy_px, np.float32(truth))


@pytest.mark.integration
@pytest.mark.parametrize("side", [20, 80, 81, 130, 200])
def test_a_cell_on_the_corner_of_four_tiles_counts_once(side):
    x, y = seams()[1:3]
    away = range(-side, side + 1, max(side // 6, 1))
    for across, down in product(away, away):
        truth = [centred(x + across, y + down, side, side)]
        np.testing.assert_array_equal(by_tiles(truth).xyxy_px, np.float32(truth))


def test_a_cell_larger_than_a_tile_is_one():
    truth = [(150, 200, 1400, 1300)]
    np.testing.assert_array_equal(by_tiles(truth).xyxy_px, np.float32(truth))


def test_cells_side_by_side_along_and_across_a_seam_stay_apart():
    seam = seams()[0]
    truth = [
        centred(seam + 30 * column, 60 + 30 * row, 30, 30)
        for column, row in product(range(-4, 5), range(40))
    ]
    np.testing.assert_array_equal(rows_of(by_tiles(truth).xyxy_px), rows_of(truth))


def test_large_cells_that_touch_on_a_seam_stay_apart():
    seam = seams()[0]
    truth = [centred(seam + 20, 100 + 120 * row, 150, 120) for row in range(10)]
    np.testing.assert_array_equal(rows_of(by_tiles(truth).xyxy_px), rows_of(truth))


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_cells_of_any_size_that_do_not_overlap_count_exactly_once(seed):
    truth = _apart(np.random.default_rng(seed))
    assert len(by_tiles(truth)) == len(truth)


def _apart(rng):
    """Boxes of 10 to 300 pixels a side, none over another."""
    boxes = np.zeros((0, 4))
    for _ in range(120):
        width, height = rng.uniform(10, rng.choice([60, 300]), 2)
        left, top = rng.uniform(0, SIDE - width), rng.uniform(0, SIDE - height)
        box = np.round([[left, top, left + width, top + height]])
        if not len(boxes) or iou_matrix(box, boxes).max() == 0:
            boxes = np.vstack([boxes, box])
    return boxes


@pytest.mark.integration
def test_a_detector_that_is_not_exact_counts_each_cell_once_all_the_same():
    truth = crowd()
    found = by_tiles(truth, jitter=0.08)
    pairs = iou_matrix(truth, found.xyxy_px) > 0.5
    assert len(found) == len(truth)
    assert pairs.any(axis=1).all()


def test_two_classes_on_one_cell_stay_as_without_tiles():
    perfect = Perfect([centred(seams()[0], 100, 30, 30)] * 2)
    perfect.classes = ("RBC", "WBC")
    both = perfect._seen

    def labelled(image):
        found = both(image)
        return replace(found, labels=np.arange(len(found)))

    perfect._seen = labelled
    (found,) = TiledDetector(perfect, OVERLAP / 2, TILE).detect([places()])
    assert sorted(found.labels.tolist()) == [0, 1]


def test_on_a_seam_the_tile_that_a_cell_belongs_to_is_believed_though_the_other_is_surer():
    tiles = lay_out(300, 700, 400, 100)
    seam, here = tiles[0].core[1], [centred(348, 100, 30, 30)]
    beside = [centred(349, 101, 30, 30), centred(600, 100, 30, 30)]
    cells = np.zeros(2, np.int64)
    found = merge(
        tiles,
        [
            Detections(np.float32(here), np.float32([0.6]), cells[:1], ("cell",)),
            Detections(np.float32(beside), np.float32([0.9, 0.8]), cells, ("cell",)),
        ],
    )
    assert seam == 350
    np.testing.assert_array_equal(found.xyxy_px, np.float32([beside[1], *here]))
    assert found.scores.tolist() == pytest.approx([0.8, 0.6])


# What tiles share


def test_tiles_share_two_of_the_largest_cells():
    large = Perfect([(0, 0, 9, 9)])
    small = Perfect([(0, 0, 9, 9)])
    TiledDetector(large, 100.0, TILE).detect([places()])
    TiledDetector(small, 10.0, TILE).detect([places()])
    assert len(large.shown) == len(lay_out(SIDE, SIDE, TILE, 200))
    assert len(small.shown) == len(lay_out(SIDE, SIDE, TILE, 20))
    assert len(large.shown) > len(small.shown)


def test_tiles_share_half_of_themselves_at_the_most():
    huge = Perfect([(0, 0, 9, 9)])
    TiledDetector(huge, 1000.0, TILE).detect([places()])
    assert len(huge.shown) == len(lay_out(SIDE, SIDE, TILE, TILE // 2))


def test_a_detector_that_knows_no_size_is_shown_the_middle_first():
    truth = [centred(x, y, 70, 50) for x, y in product(range(100, 1400, 90), repeat=2)]
    perfect = Perfect(truth)
    (found,) = TiledDetector(perfect, None, TILE).detect([places()])
    assert perfect.shown[0] == (TILE, TILE)
    assert len(perfect.shown) == 1 + len(lay_out(SIDE, SIDE, TILE, 140))
    assert len(found) == len(truth)


def test_a_few_clumps_and_what_is_faint_do_not_tell_the_size_of_the_cells():
    cells = [centred(x, y, 20, 15) for x, y in product(range(560, 950, 25), repeat=2)]
    clumps = [centred(x, 750, 100, 100) for x in (620, 750, 880)]
    perfect = Perfect([*clumps, *cells, *(clumps * 50)])  # the surest first
    TiledDetector(perfect, None, TILE).detect([places()])
    assert len(perfect.shown) == 1 + len(lay_out(SIDE, SIDE, TILE, 40))


def test_an_empty_middle_tells_no_size_and_cells_elsewhere_are_found():
    perfect = Perfect([(20, 20, 60, 60), (1400, 1400, 1450, 1450)])
    (found,) = TiledDetector(perfect, None, TILE).detect([places()])
    assert len(found) == 2
    assert len(perfect.shown) == 1 + len(lay_out(SIDE, SIDE, TILE, TILE // 8))


# The path that serves


class Capped(Perfect):
    """Reaches a cap in one tile alone."""

    def __init__(self, truth, tile):
        super().__init__(truth)
        self.place = tile.top * self.width + tile.left

    def _seen(self, image):
        found = super()._seen(image)
        is_there = image.pixels[0, 0] == self.place
        return replace(found, caps_reached={"detections_per_image": 0.3} if is_there else {})


@pytest.mark.parametrize("number", [0, 7, -1])
def test_a_cap_reached_in_one_tile_is_told_of_the_image(number):
    capped = Capped([(5, 5, 25, 25)], lay_out(SIDE, SIDE, TILE, OVERLAP)[number])
    (found,) = TiledDetector(capped, OVERLAP / 2, TILE).detect([places()])
    assert found.caps_reached == {"detections_per_image": 0.3}


def test_no_cap_is_told_when_no_tile_reached_one():
    assert by_tiles([(5, 5, 25, 25)]).caps_reached == {}


@pytest.mark.parametrize(
    ("side", "middle_xyxy"), [(20, (40, 20, 60, 40)), (80, (10, 0, 90, 60)), (200, (0, 0, 100, 60))]
)
def test_the_middle_is_as_far_from_every_edge_as_from_the_one_across(side, middle_xyxy):
    assert middle(places(60, 100), side).xyxy_px == middle_xyxy


def test_a_version_sees_a_large_image_by_tiles_and_answers_in_raw_pixels():
    style = replace(HIGH, touching=0.0, texture=0.0, specks=0.0)
    field = generate_field(7, (800, 2700), 25, style)
    detector = _Bright()
    version = replace(
        classical_version(),
        detector=DetectorConfig(scale=0.5, anchor_sizes=(30.0, 40.0), turned_px=0),
    )
    loaded = LoadedVersion(version, ContrastGroups.none(), detector)
    (found,) = loaded.find([ImageRecord(field.pixels, "00")])
    assert detector.shown == [(400, (1350 + 80) // 2)] * 2
    assert found.prepared.pixels.shape == (400, 1350)
    assert found.detections.xyxy_px[:, 2].max() > 1400
    truth = np.array([box.xyxy_px for box in field.boxes], np.float32)
    best = iou_matrix(truth, found.detections.xyxy_px).max(axis=1)
    assert (best > 0.6).mean() > 0.9


class _Bright:
    """Finds what is bright: enough to see where boxes end up."""

    classes = ("cell",)

    def __init__(self):
        self.shown = []

    def detect(self, images):
        found = []
        for image in images:
            self.shown.append((image.height, image.width))
            labels, _ = ndimage.label(image.pixels > 0.4)
            edges = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(labels)]
            edges = np.float32([e for e in edges if e[2] - e[0] > 4])
            ones = np.ones(len(edges), np.float32)
            found.append(Detections(edges, ones, np.zeros(len(edges), np.int64), ("cell",)))
        return found


@pytest.mark.integration
def test_the_classical_detector_counts_the_same_by_tiles_as_without():
    field = generate_field(11, (700, 700), 110, EASY)
    seen = prepare(ImageRecord(field.pixels, "00"), ContrastGroups.none())
    (whole,) = ClassicalDetector().detect([seen])
    (tiled,) = TiledDetector(ClassicalDetector(), tile_px=450).detect([seen])
    counts = [len(found.above(THRESHOLD)) for found in (whole, tiled)]
    assert abs(counts[1] - counts[0]) <= 0.02 * counts[0]
    assert abs(counts[1] - len(field.boxes)) <= 0.02 * len(field.boxes)
