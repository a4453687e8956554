import csv
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.boxes import Box
from model.classical.detector import ClassicalDetector, classical_version, find_cells
from model.generated.fields import EASY, HARD, LOW, MEDIUM, dark_on_bright, generate_field
from model.judging.evaluation import evaluate, evaluate_version
from model.labels.examples import LabelledImage
from model.looking.loaded import LoadedVersion
from preprocessing.groups import ContrastGroups
from preprocessing.hashing import sha256_of
from preprocessing.images import ImageRecord

CLASSICAL = LoadedVersion(classical_version(), ContrastGroups.none(), ClassicalDetector())


def judged(style, cells, labelled, seeds=range(3), shape=(320, 320)):
    fields = [generate_field(seed, shape, cells, style) for seed in seeds]
    truth = [labelled([b.xyxy_px for b in field.boxes]) for field in fields]
    records = [ImageRecord(field.pixels, "00") for field in fields]
    found = [CLASSICAL.find([record])[0].detections for record in records]
    return evaluate(found, truth, (), CLASSICAL.version.threshold)


@pytest.mark.integration
def test_easy_fields_are_found_nearly_whole(labelled):
    report = judged(EASY, 25, labelled)
    assert report.any_class.ap50 >= 0.9
    assert report.any_class.ap75 >= 0.9
    assert report.f1 >= 0.9


@pytest.mark.integration
def test_hard_fields_leave_a_detector_something_to_learn(labelled):
    report = judged(HARD, 20, labelled, seeds=range(5))
    assert 0 < report.any_class.ap50 <= 0.6


@pytest.mark.integration
@pytest.mark.parametrize("style", [LOW, MEDIUM, dark_on_bright(MEDIUM)])
def test_cells_are_found_at_any_contrast_and_in_both_polarities(style, labelled):
    report = judged(style, 60, labelled, seeds=[7, 8])
    assert report.any_class.ap50 >= 0.8
    assert report.count.error <= 0.25


@pytest.mark.parametrize("radius", [6.0, 13.0, 30.0])
def test_the_size_of_cells_is_found_from_the_image(radius, labelled):
    style = replace(EASY, radius=radius)
    assert judged(style, 15, labelled, seeds=[1], shape=(400, 400)).any_class.ap50 >= 0.85


def test_two_cells_that_touch_are_two_boxes():
    pixels = np.full((120, 160), 0.1, np.float32)
    y, x = np.mgrid[:120, :160]
    for centre in (60, 92):
        pixels[(y - 60) ** 2 + (x - centre) ** 2 < 18**2] = 0.8
    found = find_cells(pixels).above(0.5)
    np.testing.assert_allclose(np.sort(found.xyxy_px[:, 0]), [43, 76], atol=4)


def test_scores_are_descending_and_between_0_and_1():
    found = find_cells(generate_field(0, (256, 256), 40, MEDIUM).pixels / np.float32(255))
    assert (np.diff(found.scores) <= 0).all()
    assert 0 < found.scores.min() <= found.scores.max() <= 1


@pytest.mark.integration
def test_boxes_of_a_large_image_come_back_at_its_own_size(labelled):
    style = replace(EASY, radius=40.0)
    assert judged(style, 40, labelled, seeds=[2], shape=(1024, 1280)).any_class.ap50 >= 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 2), (3, 3), (50, 4), (200, 200)])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_an_image_of_one_grey_has_no_cells(shape, level):
    assert len(find_cells(np.full(shape, level, np.float32))) == 0


@settings(max_examples=40)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    )
)
def test_whatever_the_pixels_the_boxes_lie_in_the_image(pixels):
    found = find_cells(pixels)
    height, width = pixels.shape
    assert (found.xyxy_px[:, :2] >= 0).all()
    assert (found.xyxy_px[:, 2:] <= [width + 1e-3, height + 1e-3]).all()
    assert (found.xyxy_px[:, 2:] > found.xyxy_px[:, :2]).all()


def test_noise_alone_shows_hardly_a_cell():
    pixels = np.random.default_rng(0).normal(0.5, 0.1, (256, 256)).clip(0, 1)
    assert len(find_cells(pixels.astype(np.float32)).above(0.5)) <= 5


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "kind", "ap50"), [("bccd", "stained", 0.35), ("dsb2018", "fluorescence", 0.7)]
)
def test_real_cells_are_found_before_anything_was_learned(name, kind, ap50):
    if not (data := os.environ.get("CYTOLOOP_DATA")):
        pytest.skip("CYTOLOOP_DATA does not say where the real images are")
    folder = Path(data) / name
    rows = csv.DictReader((folder / "images.csv").read_text().splitlines())
    names = [row["image"] for row in rows if row["kind"] == kind][:40:5]
    images = [_real(folder, each) for each in names]
    assert evaluate_version(CLASSICAL, images, ("cell",)).any_class.ap50 >= ap50


def _real(folder, name):
    path = folder / "images" / name
    voc = ElementTree.parse(folder / "annotations" / f"{path.stem}.xml")
    edges = [
        [float(b.findtext(edge)) for edge in ("xmin", "ymin", "xmax", "ymax")]
        for b in voc.iter("bndbox")
    ]
    boxes = tuple(Box(*e, "cell") for e in edges if e[2] > e[0] and e[3] > e[1])
    return LabelledImage(path, sha256_of(path), boxes)
