from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import (
    STEPS_PER_PX,
    of_cells,
    to_boxes,
    to_labels,
    to_regions,
    unusable_in,
)
from model.boxes import Box
from model.wording import LIMIT_REACHED

INTERFACE = LabellingInterface("label", "image", "image", ("Cell", "Debris"))


@st.composite
def images_with_boxes(draw: st.DrawFn) -> tuple[int, int, list[Box]]:
    """A size, and boxes inside it with edges such as a detector's or a hand's."""
    width, height = draw(st.integers(1, 60_000)), draw(st.integers(1, 60_000))

    def edges(side: int) -> tuple[float, float]:
        pair = sorted(draw(st.tuples(*[st.integers(0, side * STEPS_PER_PX)] * 2)))
        if pair[0] == pair[1]:
            pair = [0, side * STEPS_PER_PX]
        return pair[0] / STEPS_PER_PX, pair[1] / STEPS_PER_PX

    boxes = []
    for _ in range(draw(st.integers(0, 5))):
        (xmin, xmax), (ymin, ymax) = edges(width), edges(height)
        score = draw(st.none() | st.integers(0, 1000).map(lambda n: n / 1000))
        boxes.append(Box(xmin, ymin, xmax, ymax, draw(st.sampled_from(INTERFACE.classes)), score))
    return width, height, boxes


@given(images_with_boxes())
def test_boxes_come_back_from_percent_exactly(drawn: tuple[int, int, list[Box]]) -> None:
    width, height, boxes = drawn

    regions = to_regions(boxes, width, height, INTERFACE)

    assert to_boxes(regions, width, height) == (boxes, [])


def test_a_detectors_float32_edges_come_back_within_a_millionth_of_a_pixel() -> None:
    edges = np.array([[0.1, 0.2, 33.3, 44.4], [100.07, 5.01, 640, 480]], np.float32)
    boxes = [Box(*map(float, row), label="Cell") for row in edges]

    back, notes = to_boxes(to_regions(boxes, 640, 480, INTERFACE), 640, 480)

    assert notes == []
    assert np.abs(np.array([b.xyxy_px for b in back]) - edges).max() < 1e-6


def test_region_ids_are_unique_and_the_same_in_every_answer() -> None:
    boxes = [Box(1, 2, 3, 4, "Cell"), Box(1, 2, 3, 4, "Cell"), Box(1, 2, 3, 4, "Debris")]

    first, again = (to_regions(boxes, 10, 10, INTERFACE) for _ in range(2))

    assert len({region["id"] for region in first}) == 3
    assert first == again
    assert to_regions(boxes[2:], 10, 10, INTERFACE)[0]["id"] == first[2]["id"]


def test_a_region_says_all_that_label_studio_wants_of_a_rectangle() -> None:
    (region,) = to_regions([Box(64, 48, 192, 168, "Cell", 0.95)], 640, 480, INTERFACE)

    assert region.pop("id")
    assert region == {
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 640,
        "original_height": 480,
        "image_rotation": 0,
        "score": 0.95,
        "value": {
            "x": 10,
            "y": 10,
            "width": 20,
            "height": 25,
            "rotation": 0,
            "rectanglelabels": ["Cell"],
        },
    }


def region(type: str = "rectanglelabels", **fields: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, type: ["Cell"]}
    outer = {k: fields.pop(k) for k in list(fields) if k in ("original_width", "image_rotation")}
    return {"id": "r1", "type": type, "value": {**value, **fields}, **outer}


def test_what_was_drawn_in_the_page_is_read_with_the_kept_images_size(payload: Any) -> None:
    annotation = payload("ANNOTATION_UPDATED-ui")["annotation"]

    boxes, notes = to_boxes(annotation["result"], 640, 480)

    assert notes == []
    assert [box.label for box in boxes] == ["Cell", "Cell"]
    assert boxes[1].xyxy_px == pytest.approx((441.505, 285.517, 502.445, 353.981), abs=1e-3)


def test_a_wrong_original_size_is_not_believed_but_reported() -> None:
    boxes, notes = to_boxes([region(original_width=480)], 100, 100)

    assert boxes[0].xyxy_px == (10, 20, 40, 60)
    assert notes == ["Label Studio says the image has 480×100 px; 100×100 was used"]


@pytest.mark.parametrize(
    ("degrees", "envelope"),
    [
        (90, (20, 60, 100, 120)),
        (-90, (100, 0, 180, 60)),
        (30, (100 - 40, 60, 100 + 60 * 0.8660254, 60 + 30 + 80 * 0.8660254)),
    ],
)
def test_a_rotated_rectangle_gives_its_envelope_turned_clockwise_about_its_top_left_corner(
    degrees: float, envelope: tuple[float, ...]
) -> None:
    turned = region(x=50, y=30, rotation=degrees)  # at (100, 60), 60 × 80 px before it was turned

    boxes, notes = to_boxes([turned], 200, 200)

    assert boxes[0].xyxy_px == pytest.approx(envelope, abs=1e-5)
    assert "r1" in notes[0]
    assert "envelope" in notes[0]


def test_an_ellipse_and_a_polygon_give_their_envelopes() -> None:
    ellipse = region("ellipselabels", x=50, y=50, radiusX=20, radiusY=10, rotation=90)
    polygon = region("polygonlabels", points=[[10, 10], [30, 20], [20, 40]])

    boxes, notes = to_boxes([ellipse, polygon], 200, 100)

    assert boxes[0].xyxy_px == pytest.approx((90, 10, 110, 90), abs=1e-5)
    assert boxes[1].xyxy_px == (20, 10, 60, 40)
    assert notes == [
        "region r1 is a ellipselabels rotated by 90°: its envelope was taken",
        "region r1 is a polygonlabels: its envelope was taken",
    ]


def test_a_box_that_leaves_the_image_is_clipped_and_reported() -> None:
    boxes, notes = to_boxes([region(x=-5, width=20, y=90, height=20)], 200, 100)

    assert boxes[0].xyxy_px == (0, 90, 30, 100)
    assert "clipped" in notes[0]


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (region(width=0), "no area"),
        (region(height=0), "no area"),
        (region(x=120), "outside the image, at (120, 20, 150, 60)"),
        (region(rectanglelabels=[]), "no label"),
        (region(rectanglelabels=[], labels=[]), "no label"),
        (region(x=float("nan")), "no finite outline"),
        (region(x=None), "incomplete"),
        (region("polygonlabels", points=[]), "no finite outline"),
        (region("brushlabels", rle=[1, 2, 3]), "no outline"),
        (region(image_rotation=90), "turned in the page"),
        ({"id": "r1", "type": "relation", "from_id": "a"}, "no outline"),
        ({"id": "r1"}, "no outline"),
    ],
)
def test_what_gives_no_box_is_left_out_and_reported_and_costs_no_other_box(
    left_out: dict[str, Any], said: str
) -> None:
    boxes, notes = to_boxes([left_out, region()], 100, 100)

    assert [box.xyxy_px for box in boxes] == [(10, 20, 40, 60)]
    assert len(notes) == 1
    assert said in notes[0]
    assert "r1" in notes[0]


def test_of_several_labels_the_first_is_taken_and_reported() -> None:
    boxes, notes = to_boxes([region(rectanglelabels=["Debris", "Cell"])], 100, 100)

    assert boxes[0].label == "Debris"
    assert "2 labels" in notes[0]


def test_a_box_with_a_note_is_meant_as_it_is() -> None:
    noted = {**region(x=50), "meta": {"text": ["a giant cell"]}}
    drawn, notes = to_labels("a.png", [region(), noted, region(width=0)], 100, 100, INTERFACE)
    assert (drawn.name, drawn.width, drawn.height) == ("a.png", 100, 100)
    assert [box in drawn.meant for box in drawn.boxes] == [False, True]
    assert len(notes) == 1


def test_a_note_of_cytoloop_itself_says_nothing_of_what_is_meant() -> None:
    told = {**region(), "meta": {"text": [f"{LIMIT_REACHED}: detections_per_image"]}}
    meant = {**region(x=50), "meta": {"text": f"{LIMIT_REACHED}: rpn_pre_nms\na giant cell"}}
    drawn, _ = to_labels("a.png", [told, meant], 100, 100, INTERFACE)
    assert [box in drawn.meant for box in drawn.boxes] == [False, True]


@pytest.mark.parametrize(
    ("kind", "unusable"),
    [("rectangle", 1), ("brushlabels", 1), ("keypointlabels", 0), ("labels", 0), ("rating", 0)],
)
def test_what_was_drawn_about_a_cell_and_gives_no_box_is_unusable(kind: str, unusable: int) -> None:
    other = {"id": "other", "type": kind, "value": {"x": 1, "y": 1, "width": 9, "height": 9}}

    labels, _ = to_labels("a.png", [region(), other], 100, 100, INTERFACE)

    assert (len(labels.boxes), labels.unusable) == (1, unusable)


def test_what_gives_no_box_is_told_with_its_label_and_edges_where_it_has_any() -> None:
    rating = {"id": "r", "type": "rating", "value": {"rating": 3}}
    gone = [
        region(x=-50),
        region(rectanglelabels=[]),
        region("brushlabels", rle=[1], brushlabels=["Cell"]),
    ]
    drawn = [region(), *gone, rating]
    found = unusable_in(drawn, 100, 100, INTERFACE)
    assert [(each.label, each.xyxy_px) for each in found] == [
        ("Cell", (-50, 20, -20, 60)),
        ("", (10, 20, 40, 60)),
        ("Cell", None),
    ]
    assert found[0].why == "it lies outside the image, at (-50, 20, -20, 60)"
    assert len(found) == to_labels("a.png", drawn, 100, 100, INTERFACE)[0].unusable


def test_what_is_no_cell_is_not_said_to_be_left_out() -> None:
    rating = {"id": "r", "type": "rating", "from_name": "sharp", "value": {"rating": 3}}
    choice = {**region(), "type": "choices", "from_name": "state", "value": {"choices": ["M"]}}
    relation = {"type": "relation", "from_id": "a", "to_id": "b"}

    labels, notes = to_labels("a.png", [region(), rating, choice, relation], 100, 100, INTERFACE)

    assert (len(labels.boxes), labels.unusable, notes) == (1, 0, [])


def test_what_was_drawn_on_another_image_of_the_task_is_no_cell_of_this_one() -> None:
    beside = {**region(x=50), "id": "beside", "from_name": "fitc", "to_name": "other"}
    two_images = replace(INTERFACE, other_images=("other",))

    labels, notes = to_labels("a.png", [region(), beside], 100, 100, two_images)

    assert (len(labels.boxes), labels.unusable) == (1, 0)
    assert notes == ["1 box on another image of the task left out"]


def test_what_was_drawn_when_the_image_was_called_otherwise_stays_its_own() -> None:
    former = {**region(), "from_name": "boxes", "to_name": "photo"}
    labels, notes = to_labels("a.png", [former], 100, 100, INTERFACE)
    assert (len(labels.boxes), notes) == (1, [])


def test_regions_without_ids_hide_none_of_another_control() -> None:
    drawn = {**region(), "id": None}
    others = {**region(x=50), "id": None, "from_name": "state"}
    assert of_cells([drawn, others], INTERFACE) == [drawn, others]


def test_what_a_second_control_says_of_a_box_is_no_second_cell() -> None:
    said = {**region(rectanglelabels=["Infected"]), "from_name": "state"}
    for regions in ([region(), said], [said, region()]):
        labels, _ = to_labels("a.png", regions, 100, 100, INTERFACE)
        assert [box.label for box in labels.boxes] == ["Cell"]
        assert of_cells(regions, INTERFACE) == [region()]


@pytest.mark.parametrize(
    "meta",
    ["note", ["x"], {"text": 5}, {"text": {"a": 1}}, {"text": [None]}, {"text": [" "]}],
)
def test_what_is_no_note_in_the_meta_of_a_region_is_none(meta: Any) -> None:
    labels, notes = to_labels("a.png", [{**region(), "meta": meta}], 100, 100, INTERFACE)
    assert (len(labels.boxes), labels.meant, notes) == (1, frozenset(), [])


@pytest.mark.parametrize(
    "odd",
    [
        {"type": ["rectanglelabels"]},
        {"value": {**region()["value"], "x": 10**400}},
        {"value": {**region()["value"], "x": 1e308}},
        {"value": {**region()["value"], "rotation": "x"}},
    ],
)
def test_an_odd_region_is_left_out_and_told_and_holds_up_no_other(odd: Any) -> None:
    labels, notes = to_labels("a.png", [region(), {**region(), **odd}], 100, 100, INTERFACE)
    assert (len(labels.boxes), labels.unusable) == (1, 1)
    assert [note.partition(":")[0] for note in notes] == ["region r1 left out"]


def test_a_box_whose_id_is_no_name_is_a_box_all_the_same() -> None:
    labels, notes = to_labels("a.png", [{**region(), "id": ["r"]}], 100, 100, INTERFACE)
    assert (len(labels.boxes), labels.unusable, notes) == (1, 0, [])


@pytest.mark.parametrize("kind", ["keypointlabels", "keypoint", "vectorlabels", "bitmasklabels"])
def test_an_image_of_which_nothing_marked_gives_a_box_is_none_without_cells(kind: str) -> None:
    mark = {**region(), "type": kind}
    labels, notes = to_labels("a.png", [mark], 100, 100, INTERFACE)
    assert labels.none_usable
    assert notes == [f"region r1 left out: a {kind} has no outline that Cytoloop can read"]
