from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from model.boxes import Detections
from model.classical.detector import classical_version
from model.config import DetectorConfig
from model.judging.evaluation import evaluate_version
from model.looking.loaded import LoadedVersion
from model.looking.tiling import TiledDetector
from model.reports import Stratum
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import prepare, rescaled

IMAGE = ImageRecord(np.zeros((80, 100), np.uint8), "00")


@dataclass
class Sees:
    """A detector that finds the same boxes in every prepared image and keeps what it was shown."""

    boxes: list
    classes: tuple = ("cell",)

    def detect(self, images):
        self.shown = images
        edges = np.array(self.boxes, np.float32).reshape(-1, 4)
        scores = np.linspace(0.9, 0.6, len(edges), dtype=np.float32)
        found = Detections(edges, scores, np.zeros(len(edges), np.int64), self.classes)
        return [found for _ in images]


def loaded(boxes, scale=1.0, turned_px=0, second_opinion=False, **fields):
    """Return a version that finds the same boxes wherever it looks, upright unless asked."""
    detector = DetectorConfig(scale=scale, turned_px=turned_px, second_opinion=second_opinion)
    version = replace(classical_version(), detector=detector, **fields)
    return LoadedVersion(version, ContrastGroups.none(), Sees(boxes))


def test_boxes_come_back_in_pixels_of_the_raw_image():
    half = loaded([(5, 10, 15, 20)], scale=0.5)
    (found,) = half.find([IMAGE])
    assert half.detector.shown[0].pixels.shape == (40, 50)
    np.testing.assert_allclose(found.detections.xyxy_px, [[10, 20, 30, 40]])


@pytest.mark.parametrize("shape", [(80, 100), (700, 1100)])
def test_an_enlarged_image_is_seen_as_if_it_were_enlarged_whole(shape):
    """Small, it is seen whole, else by tiles."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    version, image = loaded([(7, 9, 40, 30)], scale=2.37), ImageRecord(pixels, "00")
    (found,) = version.find([image])
    whole = rescaled(prepare(image, ContrastGroups.none()), 2.37)
    (expected,) = TiledDetector(Sees([(7, 9, 40, 30)])).detect([whole])
    boxes = whole.to_raw(expected.xyxy_px)
    np.testing.assert_allclose(found.detections.xyxy_px, boxes, atol=1e-3)
    last = version.detector.shown[-1].pixels
    np.testing.assert_array_equal(last, whole.pixels[-last.shape[0] :, -last.shape[1] :])


def looks(detector):
    return [image.pixels.shape for image in detector.shown]


def test_an_image_that_is_seen_whole_is_turned_and_a_part_of_a_large_one_is_not():
    version, large = loaded([], turned_px=10**7), ImageRecord(np.zeros((60, 1300), np.uint8), "01")
    version.find([IMAGE])
    assert looks(version.detector) == [(80, 100), (100, 80)] * 2
    version.find([large])
    assert len(looks(version.detector)) == 1


def test_a_version_that_asks_for_it_gets_the_second_opinion_and_no_other():
    pixels = np.zeros((80, 100), np.uint8)
    y, x = np.mgrid[:80, :100]
    pixels[(y - 40) ** 2 + (x - 50) ** 2 < 12**2] = 255
    disc = ImageRecord(pixels, "02")
    asked = [loaded([], second_opinion=each).find([disc])[0].detections for each in (True, False)]
    np.testing.assert_allclose(asked[0].xyxy_px, [[38, 28, 62, 52]], atol=2)
    assert not len(asked[1])


def test_about_a_large_image_nobody_else_is_asked():
    detector = loaded([], second_opinion=True)
    noise = np.random.default_rng(0).integers(0, 256, (60, 1300), np.uint8)
    assert not len(detector.find([ImageRecord(noise, "03")])[0].detections)


def test_an_image_of_small_cells_is_never_enlarged_whole(peak_of):
    image, version = ImageRecord(np.zeros((1500, 2000), np.uint8), "00"), loaded([], scale=3.0)
    version.find([image])
    _, most = peak_of(lambda: version.find([image]))
    assert most < 4 * 9 * image.height * image.width / 2


def test_boxes_are_clipped_to_the_image_and_dropped_when_nothing_is_left():
    (found,) = loaded([(90, 70, 120, 90), (101, 10, 130, 30)]).find([IMAGE])
    np.testing.assert_allclose(found.detections.xyxy_px, [[90, 70, 100, 80]])
    np.testing.assert_allclose(found.detections.scores, [0.9])


def test_a_version_that_knows_no_classes_takes_the_default_class():
    unknowing = loaded([(0, 0, 9, 9)])
    named = unknowing.find([IMAGE], default_class="Nucleus")[0].detections
    assert [box.label for box in named.boxes()] == ["Nucleus"]
    assert unknowing.find([IMAGE])[0].detections.classes == ("cell",)


def test_a_version_that_knows_its_classes_keeps_them():
    knowing = loaded([(0, 0, 9, 9)], classes=("RBC",))
    knowing.detector.classes = ("RBC",)
    assert knowing.find([IMAGE], default_class="WBC")[0].detections.boxes()[0].label == "RBC"


def test_an_image_whose_cells_are_of_another_size_than_those_learned_from_is_flagged():
    rows = [(10 * n, 10, 10 * n + 8, 18) for n in range(5)]
    alike, unlike = (loaded(rows, cell_sides_px=sides) for sides in ((7.0, 9.0), (16.0, 18.0)))
    assert alike.find([IMAGE])[0].flags == ("constant",)
    assert unlike.find([IMAGE])[0].flags == ("constant", "unlike-size")
    shrunk = loaded(rows, scale=0.5, cell_sides_px=(16.0, 18.0))
    assert shrunk.find([IMAGE])[0].flags == ("constant",)


def test_no_size_is_unlike_what_a_version_learned_that_learned_none():
    rows = [(10 * n, 10, 10 * n + 8, 18) for n in range(5)]
    classical = LoadedVersion(classical_version(), ContrastGroups.none(), Sees(rows))
    for version in (loaded(rows), classical):
        assert version.find([IMAGE])[0].flags == ("constant",)


@pytest.mark.parametrize(("side", "flags"), [(7, ("constant", "unlike-size")), (8, ("constant",))])
def test_cells_too_small_for_whoever_finds_the_scale_are_flagged(side, flags):
    """Enlarged threefold they have less than two thirds of the 32 pixels that it looks for."""
    seen = [(30 * n, 30, 30 * n + 3 * side, 30 + 3 * side) for n in range(5)]
    assert loaded(seen, scale=0.0).with_cell_diameter(side).find([IMAGE])[0].flags == flags


def test_boxes_that_do_not_count_tell_nothing_of_the_size_of_the_cells():
    rows = [(10 * n, 10, 10 * n + 8, 18) for n in range(5)]
    sure = loaded(rows, cell_sides_px=(16.0, 18.0), threshold=0.8)
    assert "unlike-size" not in sure.find([IMAGE])[0].flags


def test_a_version_is_judged_on_the_path_that_serves(tmp_path, labelled):
    Image.fromarray(IMAGE.pixels).save(tmp_path / "a.png")
    truth = labelled([(10, 20, 30, 40, "WBC")], path=tmp_path / "a.png")
    judged = evaluate_version(loaded([(5, 10, 15, 20)], scale=0.5), [truth], ("RBC", "WBC"), "WBC")
    assert judged.by_class["WBC"].ap50 == pytest.approx(1.0)
    assert judged.threshold == classical_version().threshold
    assert judged.by_group == {"all": Stratum(1)}


def test_without_a_default_class_boxes_take_the_first_of_the_project(tmp_path, labelled):
    Image.fromarray(IMAGE.pixels).save(tmp_path / "a.png")
    truth = labelled([(10, 20, 30, 40, "RBC")], path=tmp_path / "a.png")
    strict = loaded([(10, 20, 30, 40)], threshold=0.95)
    judged = evaluate_version(strict, [truth], ("RBC", "WBC"))
    assert judged.by_class["RBC"].ap50 == pytest.approx(1.0)
    assert (judged.threshold, judged.recall) == (0.95, 0.0)
