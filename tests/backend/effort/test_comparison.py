from __future__ import annotations

from dataclasses import replace

import pytest

from backend.actions import Actions, Costs
from backend.effort.comparison import compare
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import DrawnBox, to_drawn_boxes, to_regions
from model.boxes import Box
from tests.backend.conftest import LABEL_CONFIG

SERVED = [
    DrawnBox("a", Box(10, 10, 30, 30, "Cell")),
    DrawnBox("b", Box(50, 10, 70, 30, "Cell")),
    DrawnBox("c", Box(10, 60, 30, 80, "Cell")),
]


def changed(drawn: DrawnBox, origin: str = "", **edges: object) -> DrawnBox:
    return replace(drawn, origin=origin, box=replace(drawn.box, **edges))  # type: ignore[arg-type]


def test_boxes_left_alone_are_kept_and_are_no_work() -> None:
    found = compare(SERVED, SERVED)
    assert found.actions == Actions(kept=3)
    assert (found.actions.number, found.cells, found.doubts) == (0, 3, 0)


def test_each_thing_that_can_be_done_to_a_box_is_told_apart() -> None:
    a, b, c = SERVED
    submitted = [changed(a, xmax=40), changed(b, label="Debris"), DrawnBox("n", c.box)]
    submitted[2] = replace(submitted[2], box=Box(80, 80, 95, 95, "Cell"))
    found = compare(SERVED, submitted)
    assert found.actions == Actions(moved=1, relabelled=1, deleted=1, added=1)
    assert found.overlaps == (pytest.approx(20 / 30),)


def test_a_box_that_was_moved_and_relabelled_is_two_actions_on_one_box() -> None:
    found = compare(SERVED[:1], [changed(SERVED[0], xmax=40, label="Debris")])
    assert found.actions == Actions(moved=1, relabelled=1)
    assert (found.actions.number, found.cells) == (2, 1)


@pytest.mark.parametrize("edge", ["xmin", "ymin", "xmax", "ymax"])
def test_a_jog_of_less_than_half_a_pixel_is_no_move(edge: str) -> None:
    before = getattr(SERVED[0].box, edge)
    for jog, treated in [(0.4, Actions(kept=1)), (0.6, Actions(moved=1))]:
        for after in (before - jog, before + jog):
            assert compare(SERVED[:1], [changed(SERVED[0], **{edge: after})]).actions == treated


def test_ids_pair_boxes_however_far_they_were_moved() -> None:
    found = compare(SERVED[:1], [changed(SERVED[0], xmin=60, xmax=80)])
    assert found.actions == Actions(moved=1)
    assert found.overlaps == (0.0,)


def test_boxes_of_tools_that_make_their_own_ids_are_paired_by_place() -> None:
    renamed = [replace(box, id=f"other {box.id}") for box in SERVED]
    assert compare(SERVED, renamed).actions == Actions(kept=3)
    twice = [renamed[0], replace(renamed[0], id="again")]
    assert compare(SERVED[:1], twice).actions == Actions(kept=1, added=1)


def test_where_label_studio_says_otherwise_the_box_is_doubtful() -> None:
    a, b, c = SERVED
    right = [changed(a, "prediction"), changed(b, "prediction-changed", xmin=45)]
    assert (
        compare(SERVED, [*right, DrawnBox("n", Box(80, 80, 95, 95, "Cell"), "manual")]).doubts == 0
    )
    wrong = [changed(a, "prediction", xmin=5), changed(b, "manual")]
    wrong.append(changed(c, "prediction", label="Debris"))
    stray = DrawnBox("other", Box(80, 80, 95, 95, "Cell"), "prediction")
    assert compare(SERVED, [*wrong, stray]).doubts == 4


def test_what_was_served_comes_back_from_percent_as_it_was() -> None:
    interface = LabellingInterface.parse(LABEL_CONFIG)
    boxes = [Box(1.37, 2.0, 20.91, 30.0, "Cell", 0.9), Box(4, 5, 6.5, 8.25, "Debris", 0.5)]
    regions = to_regions(boxes, 647, 483, interface)
    drawn = to_drawn_boxes(regions, 647, 483)
    assert [d.id for d in drawn] == [region["id"] for region in regions]
    assert compare(drawn, drawn).actions == Actions(kept=2)


def test_a_region_is_told_by_all_that_its_box_comes_from() -> None:
    interface = LabellingInterface.parse(LABEL_CONFIG)
    boxes = [Box(x, 5, x + 20, 25, "Cell", 0.9) for x in (10, 40, 70, 100, 130, 160)]
    served = to_regions(boxes, 200, 100, interface)
    before = to_drawn_boxes(served, 200, 100)
    kept, moved, named, turned, gone, unsure = (
        region | {"value": dict(region["value"]), "origin": "prediction"} for region in served
    )
    moved["value"]["x"] += 4
    named["value"]["rectanglelabels"] = ["Debris"]
    turned["image_rotation"] = 90
    gone["type"] = "brushlabels"
    del unsure["score"]
    after = to_drawn_boxes([kept, moved, named, turned, gone, unsure], 200, 100)
    assert [box.id for box in after] == [r["id"] for r in (kept, moved, named, unsure)]
    assert {box.origin for box in after} == {"prediction"}
    assert compare(before, after).actions == Actions(kept=2, moved=1, relabelled=1, deleted=2)


def test_each_of_many_moved_boxes_has_an_overlap_of_its_own() -> None:
    served = [DrawnBox(f"{n}", Box(n, 0, n + 20, 20, "Cell")) for n in range(150)]
    moved = [changed(box, xmax=box.box.xmax + 1 + int(box.id) % 7) for box in served]
    found = compare(served, moved)
    assert found.overlaps == tuple(pytest.approx(20 / (21 + n % 7)) for n in range(150))


def test_the_seconds_of_actions_are_the_sum_of_their_costs() -> None:
    costs = Costs()
    assert costs.seconds(Actions()) == 5
    assert costs.seconds(Actions(kept=4, moved=1, relabelled=1, deleted=2, added=1), 2) == (
        2 + 4 + 2 + 3 + 7 + 10
    )
