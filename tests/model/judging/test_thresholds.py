from dataclasses import dataclass

import numpy as np
import pytest

from model.boxes import Detections
from model.config import DetectorConfig
from model.judging.thresholds import threshold_for
from model.labels.examples import DatasetSnapshot
from model.looking.loaded import LoadedVersion
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups

CLASSES = ("Nucleus",)


@dataclass
class Sure:
    """Finds each image's cells at 0.8, or as told, and something else 0.2 below."""

    truth: list
    scores: list
    classes: tuple = CLASSES

    def detect(self, images):
        found = []
        for _ in images:
            right, score = self.truth.pop(0), self.scores.pop(0)
            edges = np.vstack([right, [[0, 0, 3, 3]]]).astype(np.float32)
            scores = np.array([score] * len(right) + [score - 0.2], np.float32)
            found.append(Detections(edges, scores, np.zeros(len(edges), np.int64), self.classes))
        return found


def sure_of(images, scores=()):
    """Return a version that finds the cells of these images, in this order."""
    truth = [i.xyxy_px for i in images]
    detector = DetectorConfig(scale=1.0, turned_px=0)
    version = ModelVersion("v", "trained", CLASSES, 0.0, detector)
    return LoadedVersion(
        version, ContrastGroups.none(), Sure(truth, [*scores] or [0.8] * len(truth))
    )


def test_an_inner_side_without_a_cell_chooses_the_threshold_beside_what_taught(cell_images):
    teach, empty = cell_images(2), cell_images(1, 90, "inner", 0)
    both = DatasetSnapshot((*teach, *empty), CLASSES)
    assert threshold_for(sure_of([*teach, *empty]), both) == pytest.approx(0.7)


def test_few_inner_images_are_held_at_what_taught_as_if_by_eight_of_them(cell_images):
    teach, inner = cell_images(2), cell_images(8, 90, "inner")
    snapshot = DatasetSnapshot((*teach, *inner), CLASSES)
    version = sure_of([*inner, *teach], [0.3] * 8 + [0.9] * 2)
    assert threshold_for(version, snapshot) == pytest.approx(0.5)  # the middle of 0.8 and 0.2


def test_of_many_inner_images_those_with_cells_are_looked_at(cell_images):
    teach, empty = cell_images(2, shape=(32, 32)), cell_images(59, 300, "inner", 0, (32, 32))
    (known,) = cell_images(1, 90, "inner", 3, (32, 32))
    inner = [*empty[:32], known, *empty[32:]]  # among which an even draw of forty passes it by
    snapshot = DatasetSnapshot((*teach, *inner), CLASSES)
    drawn = [inner[i] for i in np.linspace(0, 59, 40).astype(int)]
    assert known not in drawn
    looked_at = [*teach, known, *empty[:37]]
    version = sure_of(looked_at)
    assert threshold_for(version, snapshot) == pytest.approx(0.7)
    assert not version.detector.truth  # all forty were


def test_a_side_without_a_right_box_has_no_say(cell_images):
    teach, inner = cell_images(2), cell_images(8, 90, "inner")
    version = sure_of([*inner, *teach], [0.3] * 8 + [0.9] * 2)
    version.detector.truth[:8] = [np.zeros((0, 4), np.float32)] * 8
    snapshot = DatasetSnapshot((*teach, *inner), CLASSES)
    assert threshold_for(version, snapshot) == pytest.approx(0.8)
