"""The demo's images."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from backend.datasets.voc import read_voc
from backend.running.demo import FIELDS_A_GROUP, MICROGRAPH, SHAPE, demo_fields, write_demo
from preprocessing.images import read_image

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder)
    return folder


def test_there_are_three_groups_of_fields_and_a_real_micrograph(demo):
    names = sorted(path.name for path in (demo / "images").iterdir())
    for group in ("low", "medium", "high"):
        assert sum(f"-{group}." in name for name in names) == FIELDS_A_GROUP
    assert MICROGRAPH in names
    assert len(names) == 3 * FIELDS_A_GROUP + 1


def test_each_field_is_readable_and_has_its_truth(demo):
    counts = []
    for path in sorted((demo / "images").glob("field-*")):
        record = read_image(path)
        truth = read_voc((demo / "truth" / path.name).with_suffix(".xml"))
        assert record.pixels.shape == SHAPE == (truth.height, truth.width)
        counts.append(len(truth.boxes))
    assert min(counts) >= 15
    assert max(counts) >= 250


def test_the_demo_has_8_and_16_bit_images(demo):
    kinds = {read_image(path).pixels.dtype for path in (demo / "images").iterdir()}
    assert kinds == {np.dtype(np.uint8), np.dtype(np.uint16)}


def test_a_second_time_nothing_is_written_again(demo):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    assert write_demo(demo) == demo / "images"
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


def test_a_field_is_always_the_same_and_no_two_are_alike(demo):
    again = dict(islice(demo_fields(), 3))
    for name, field in again.items():
        assert np.array_equal(read_image(demo / "images" / name).pixels, field.pixels)
    hashes = {read_image(path).sha256 for path in (demo / "images").iterdir()}
    assert len(hashes) == 3 * FIELDS_A_GROUP + 1
