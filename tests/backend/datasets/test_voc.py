from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.datasets.voc import read_voc, voc_bytes, write_voc
from backend.errors import BadRequest
from model.boxes import Box
from model.labels.label_guard import NONE_USABLE
from tests.backend.datasets.conftest import drawn_boxes

SIZE = (640, 480)


def voc_text(*boxes: str, size: str = "<width>640</width><height>480</height>") -> str:
    objects = "".join(f"<object><name>RBC</name><bndbox>{b}</bndbox></object>" for b in boxes)
    return f"<annotation><filename>a.png</filename><size>{size}</size>{objects}</annotation>"


def edges(xmin: object, ymin: object, xmax: object, ymax: object) -> str:
    return f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.xml"
    path.write_text(text, encoding="utf-8")
    return path


@given(st.lists(drawn_boxes(SIZE), max_size=5), st.booleans())
@settings(max_examples=60)
def test_a_round_trip_moves_no_edge_by_more_than_half_a_pixel(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[Box], one_based: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.xml"
    write_voc(path, "a.png", *SIZE, 1, boxes, one_based=one_based)
    read = read_voc(path, SIZE, one_based=one_based)
    assert len(read.boxes) == len(boxes)
    for before, after in zip(boxes, read.boxes, strict=True):
        for drawn, kept in zip(before.xyxy_px, after.xyxy_px, strict=True):
            assert math.fabs(drawn - kept) <= 0.5


def test_a_decimal_comma_is_read_as_one_and_a_comma_that_may_be_of_thousands_is_not(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, voc_text(edges("12,5", 20, " 40,25 ", 60), edges(9, 9, "1,024", 50)))
    read = read_voc(path, SIZE)
    assert [box.xyxy_px for box in read.boxes] == [(12.5, 20, 40.25, 60)]
    assert read.unusable == 1


def test_each_edge_is_rounded_by_itself() -> None:
    box = Box(0.6, 0.6, 4.4, 4.4, "N")  # rounding x, y, width and height apart would give xmax 5
    text = voc_bytes("a.png", 10, 10, 1, [box]).decode()
    assert "<xmin>1</xmin>" in text
    assert "<xmax>4</xmax>" in text


def test_one_based_files_count_from_one_inclusive() -> None:
    text = voc_bytes("a.png", 10, 10, 1, [Box(0, 2, 3, 10, "N")], one_based=True).decode()
    assert [f"<{e}>{v}</{e}>" in text for e, v in (("xmin", 1), ("ymin", 3))] == [True, True]
    assert [f"<{e}>{v}</{e}>" in text for e, v in (("xmax", 3), ("ymax", 10))] == [True, True]


def test_a_box_thinner_than_a_pixel_keeps_one(tmp_path: Path) -> None:
    path = tmp_path / "thin.xml"
    write_voc(path, "a.png", *SIZE, 1, [Box(639.8, 3.1, 640, 3.3, "N")])
    (box,) = read_voc(path, SIZE).boxes
    assert box.xyxy_px == (639, 3, 640, 4)


@pytest.mark.parametrize(
    ("box", "marked"),
    [
        ((1, 1, 9, 9), 0),
        ((0, 1, 9, 9), 1),
        ((1, 0, 9, 9), 1),
        ((1, 1, 10, 9), 1),
        ((1, 1, 9, 10), 1),
    ],
)
def test_boxes_that_touch_the_border_are_marked_as_truncated(
    box: tuple[int, int, int, int], marked: int
) -> None:
    text = voc_bytes("a.png", 10, 10, 1, [Box(*box, "N")]).decode()
    assert f"<truncated>{marked}</truncated>" in text


def test_blanks_around_a_class_are_no_part_of_it(tmp_path: Path) -> None:
    text = voc_text(edges(1, 2, 30, 40)).replace("<name>RBC</name>", "<name>\n RBC </name>")
    assert read_voc(written(tmp_path, text), SIZE).boxes == (Box(1, 2, 30, 40, "RBC"),)


def test_a_file_without_boxes_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "none.xml"
    write_voc(path, "näme & <co>.tif", *SIZE, 3, [])
    read = read_voc(path)
    assert (read.name, read.width, read.height, read.boxes) == ("näme & <co>.tif", *SIZE, ())
    assert read.notes == ()


def test_a_write_leaves_no_other_file_behind(tmp_path: Path) -> None:
    write_voc(tmp_path / "a.xml", "a.png", 10, 10, 1, [])
    assert [p.name for p in tmp_path.iterdir()] == ["a.xml"]


def test_a_box_across_the_border_is_clipped_and_noted(tmp_path: Path) -> None:
    read = read_voc(written(tmp_path, voc_text(edges(-5, 10, 700, 20))), SIZE)
    assert read.boxes == (Box(0, 10, 640, 20, "RBC"),)
    assert "clipped" in read.notes[0]


def test_a_note_has_the_numbers_of_the_file_also_where_these_count_from_one(tmp_path: Path) -> None:
    read = read_voc(written(tmp_path, voc_text(edges(630, 11, 642, 20))), SIZE, one_based=True)
    assert read.boxes == (Box(629, 10, 640, 20, "RBC"),)
    assert "box 1 (RBC) (630, 11, 642, 20) clipped" in read.notes[0]


@pytest.mark.parametrize(
    ("inside", "unusable"),
    [("<bndbox><xmin>1</xmin></bndbox>", 2), ("<name>RBC</name>", 0), ("", 0)],
)
def test_a_file_with_other_elements_than_objects_is_told_and_its_boxes_are_no_cells_missing(
    tmp_path: Path, inside: str, unusable: int
) -> None:
    parts = f"<filename>a.png</filename><obj>{inside}</obj><obj>{inside}</obj>"
    read = read_voc(written(tmp_path, f"<annotation>{parts}</annotation>"), SIZE)
    assert read.notes == (
        "a.xml: has no <object> but <obj>: a box is read from an <object> alone, mend it",
    )
    assert read.unusable == unusable
    assert read.why_left_out == (NONE_USABLE if unusable else "")


def test_a_file_without_objects_that_says_what_voc_files_say_is_no_odd_one(tmp_path: Path) -> None:
    parts = "<folder>x</folder><filename>a.png</filename><source/><owner/><segmented>0</segmented>"
    read = read_voc(written(tmp_path, f"<annotation>{parts}</annotation>"), SIZE)
    assert (read.notes, read.unusable) == ((), 0)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (edges(181, 329, 181, 329), "no size"),
        (edges(20, 10, 10, 30), "it has its corners swapped"),
        (edges(10, 30, 20, 10), "it has its corners swapped"),
        (edges(700, 10, 720, 30), "outside"),
        (edges(-30, 10, -10, 30), "outside"),
        (edges(600, 10, 9999, 30), "lies outside the 640×480 px image by more than half"),
        (edges(-30, 10, 20, 30), "lies outside the 640×480 px image by more than half"),
        (edges("ten", 10, 20, 30), "four numbers"),
        (edges("nan", 10, 20, 30), "four numbers"),
        (edges("", 10, 20, 30), "four numbers"),
    ],
)
def test_an_unusable_box_is_left_out_and_noted(tmp_path: Path, box: str, reason: str) -> None:
    read = read_voc(written(tmp_path, voc_text(box, edges(1, 2, 3, 4))), SIZE)
    assert (read.boxes, read.unusable) == ((Box(1, 2, 3, 4, "RBC"),), 1)
    assert len(read.notes) == 1
    assert reason in read.notes[0]
    assert read.notes[0].startswith("a.xml: box 1 (RBC)")


def test_a_click_of_no_size_is_left_out_in_one_based_files_too(tmp_path: Path) -> None:
    read = read_voc(written(tmp_path, voc_text(edges(181, 329, 181, 329))), SIZE, one_based=True)
    assert (read.boxes, read.unusable, read.why_left_out) == ((), 1, NONE_USABLE)
    assert "no size" in read.notes[0]


def test_a_missing_size_comes_from_the_image(tmp_path: Path) -> None:
    path = written(tmp_path, voc_text(edges(1, 2, 3, 4), size=""))
    assert (read_voc(path, SIZE).width, read_voc(path, SIZE).notes) == (640, ())
    assert "no image size" in read_voc(path).notes[0]


def test_boxes_of_an_image_of_another_size_are_left_out(tmp_path: Path) -> None:
    read = read_voc(written(tmp_path, voc_text(edges(1, 2, 3, 4))), (1280, 960))
    assert (read.width, read.height) == (1280, 960)
    assert (read.boxes, read.unusable) == ((), 1)
    assert read.notes == ()
    assert read.why_left_out.startswith(
        "its annotation says 640×480 px, but the image has 1280×960:"
    )


def test_an_annotation_of_another_size_without_a_box_is_no_image_without_cells(
    tmp_path: Path,
) -> None:
    read = read_voc(written(tmp_path, voc_text()), (1280, 960))
    assert (read.boxes, read.unusable) == ((), 0)
    assert "says 640×480 px" in read.why_left_out


def test_a_size_of_nothing_is_no_other_size(tmp_path: Path) -> None:
    nothing = "<width>0</width><height>0</height>"
    read = read_voc(written(tmp_path, voc_text(edges(1, 2, 3, 4), size=nothing)), SIZE)
    assert (read.boxes, read.notes) == ((Box(1, 2, 3, 4, "RBC"),), ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<annotation>",
        "no xml at all",
        '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
        "<kml></kml>",
    ],
)
def test_what_is_no_voc_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadRequest, match=r"a\.xml.*move it away"):
        read_voc(written(tmp_path, text))


def test_a_file_with_entities_is_refused_in_plain_words(tmp_path: Path) -> None:
    text = '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
    with pytest.raises(BadRequest, match=r"a\.xml declares entities, which no VOC file needs"):
        read_voc(written(tmp_path, text))


def test_a_file_that_cannot_be_read_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.xml").symlink_to("/proc/self/mem")  # whose beginning nobody may read
    with pytest.raises(
        BadRequest, match=r"a\.xml cannot be read \(Input/output error\): check its"
    ):
        read_voc(tmp_path / "a.xml")
