from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.datasets.folder import labelled_folder
from model.boxes import Box
from model.labels.label_guard import FEWEST_BOXES, ImageLabels, guard, summary, without

DATA = Path(os.environ.get("CYTOLOOP_DATA", "/nonexistent"))
CELL = Box(10, 10, 30, 40, "Cell")


def image(*boxes: Box, meant: frozenset[Box] = frozenset()) -> ImageLabels:
    return ImageLabels("a.png", 400, 300, boxes, meant)


def cells(number: int = FEWEST_BOXES, size: float = 20.0, seed: int = 0) -> ImageLabels:
    """Cells of one class in rows, 15 % wider or narrower than one another."""
    sides = size * np.random.default_rng(seed).normal(1, 0.15, number).clip(0.6, 1.5)
    boxes = [
        Box(x, y, x + side, y + side, "Cell")
        for side, x, y in zip(
            sides.tolist(),
            [10 + 35.0 * (k % 10) for k in range(number)],
            [10 + 35.0 * (k // 10) for k in range(number)],
            strict=True,
        )
    ]
    return ImageLabels("cells.png", 400, 800, tuple(boxes))


def square(side: float, x: float = 150.0, y: float = 150.0, label: str = "Cell") -> Box:
    return Box(x, y, x + side, y + side, label)


def reasons(*images: ImageLabels) -> list[str]:
    return [one.reason for one in guard(images)]


def test_ordinary_cells_stay() -> None:
    assert guard([cells(), cells(100, seed=1), image(CELL), image()]) == ()


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (Box(181, 29, 181, 29, "Cell"), "one-pixel"),
        (Box(10, 10, 11, 60, "Cell"), "one-pixel"),
        (Box(10, 10, 12, 60, "Cell"), None),
        (Box(30, 20, 10, 40, "Cell"), "one-pixel"),
        (Box(400, 20, 430, 40, "Cell"), "outside"),
        (Box(-30, 20, 1, 40, "Cell"), "outside"),
        (Box(20, 300, 40, 330, "Cell"), "outside"),
        (Box(20, -30, 40, 1, "Cell"), "outside"),
        (Box(-30, 20, 10, 40, "Cell"), None),
    ],
)
def test_what_shows_no_cell_is_set_aside(box: Box, reason: str | None) -> None:
    found = guard([image(CELL, box)])
    assert [(one.place, one.reason) for one in found] == ([(1, reason)] if reason else [])


def test_of_boxes_on_one_cell_the_first_stays() -> None:
    near = replace(CELL, xmax=31)
    found = guard([image(CELL, near, CELL, replace(CELL, label="Debris"))])
    assert [(one.place, one.reason) for one in found] == [(1, "double"), (2, "double")]
    assert found[0].words == (
        "a.png: box of Cell at (10, 10, 31, 40) looks wrong: it lies on another box of Cell "
        "(IoU 0.95): one cell boxed twice?"
    )


def test_neighbours_that_overlap_are_two_cells() -> None:
    assert reasons(image(CELL, replace(CELL, xmin=13, xmax=33))) == []


def test_a_box_that_is_meant_may_be_thin_doubled_and_of_any_size_but_not_a_click() -> None:
    giant, thread, click = square(90), Box(5, 5, 6, 25, "Cell"), Box(5, 5, 5, 5, "Cell")
    meant = frozenset({CELL, giant, thread, click})
    found = guard([cells(), image(CELL, CELL, giant, thread, click, meant=meant)])
    assert [(one.box, one.reason) for one in found] == [(click, "one-pixel")]


def test_a_size_that_no_other_cell_has_is_set_aside() -> None:
    found = guard([cells(), image(square(90)), image(square(5))])
    assert [(one.image, one.reason) for one in found] == [(1, "size"), (2, "size")]
    assert "is 90 px across, 4." in found[0].why
    assert "times larger than the usual Cell (" in found[0].why


def test_a_second_giant_cell_brings_the_first_one_back() -> None:
    assert reasons(cells(), image(square(90)), image(square(110))) == []


def test_a_cell_twice_as_large_as_the_others_is_a_rare_large_cell() -> None:
    assert reasons(cells(200), image(square(45))) == []


def test_a_small_part_of_a_cell_that_the_image_cuts_is_right() -> None:
    assert reasons(cells(), image(square(5, x=394.5))) == []
    assert reasons(cells(), image(square(90, x=0))) == ["size"]


def test_of_few_boxes_none_has_an_unusual_size() -> None:
    assert reasons(cells(FEWEST_BOXES - 2), image(square(90))) == []
    assert reasons(cells(FEWEST_BOXES - 1), image(square(90))) == ["size"]


def test_each_class_has_sizes_of_its_own() -> None:
    large = [square(90, x=10 + k, label="WBC") for k in (0, 100, 200)]
    assert reasons(cells(), image(*large)) == []


def test_what_is_set_aside_leaves_the_other_boxes_in_order() -> None:
    images = [image(CELL, CELL, square(20)), cells()]
    left = without(images, guard(images))
    assert left == [(CELL, square(20)), images[1].boxes]


def test_an_image_of_which_all_boxes_are_set_aside_is_no_image_without_cells() -> None:
    images = [image(Box(0.2, 0.3, 0.4, 0.5, "Cell")), image()]
    assert without(images, guard(images)) == [None, ()]


def test_an_image_of_which_no_box_can_be_used_is_no_image_without_cells() -> None:
    assert replace(image(), unusable=1).none_usable
    assert not image().none_usable
    assert not replace(image(CELL), unusable=1).none_usable


def test_boxes_that_look_wrong_are_summed_up() -> None:
    assert summary(guard([image(CELL, CELL)])) == "1 box looks wrong (1 doubled)"
    several = guard([image(CELL, CELL, CELL, Box(5, 5, 6, 6, "Cell"))])
    assert summary(several) == "3 boxes look wrong (1 thinner than two pixels, 2 doubled)"


@given(
    edges=st.lists(st.tuples(*[st.floats(-50, 500, width=32)] * 4), max_size=60),
    seed=st.integers(0, 9),
)
def test_whatever_is_drawn_no_two_boxes_on_one_cell_are_left(
    edges: list[tuple[float, float, float, float]], seed: int
) -> None:
    images = [image(*(Box(*each, label="Cell") for each in edges)), cells(40, seed=seed)]
    left = [
        replace(drawn, boxes=boxes or ())
        for drawn, boxes in zip(images, without(images, guard(images)), strict=True)
    ]
    again = guard(left)
    assert {one.reason for one in again} <= {"size"}


@pytest.mark.integration
@pytest.mark.skipif(not DATA.is_dir(), reason="CYTOLOOP_DATA is not set")
def test_of_a_published_set_the_known_doubles_and_two_wrong_classes_are_found() -> None:
    folder = labelled_folder(DATA / "bccd" / "images", DATA / "bccd" / "annotations")
    found = {reason: [] for reason in ("double", "size")}
    for one in folder.aside:
        found[one.reason].append(one.name[11:16])
    assert found["double"] == ["00013", "00020", "00100", "00284", "00331"]
    # A platelet called WBC, and a WBC called platelet; two giant platelets are left alone.
    assert found["size"] == ["00113", "00133"]


@pytest.mark.integration
@pytest.mark.skipif(not DATA.is_dir(), reason="CYTOLOOP_DATA is not set")
@pytest.mark.parametrize("name", ["dsb2018", "usiigaci"])
def test_of_cells_that_differ_widely_in_size_none_is_set_aside_for_it(name: str) -> None:
    folder = labelled_folder(DATA / name / "images", DATA / name / "annotations")
    assert "size" not in {one.reason for one in folder.aside}
