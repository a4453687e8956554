from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.datasets.boxes_csv import CsvSource, read_csv, write_csv
from backend.datasets.drawn import Notation
from backend.datasets.export import export_csv
from backend.datasets.folder import labelled_folder
from backend.datasets.importing import import_folder
from backend.errors import BadRequest
from backend.services import Services
from model.boxes import Box
from model.wording import first_of
from tests.backend.datasets.conftest import drawn_boxes

Save = Callable[..., Path]
NAMES = "filename,width,height,class,xmin,ymin,xmax,ymax"
SIZE = (640, 480)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., tuple[list[CsvSource], list[str]]]:
    """Write a CSV of these lines and read it; return each image's lines, and the notes."""

    def written(*lines: str, encoding: str = "utf-8") -> tuple[list[CsvSource], list[str]]:
        path = tmp_path / "boxes.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return read_csv(path)

    return written


@given(
    st.lists(drawn_boxes(SIZE, ("N", 'a "b", c', "Größe")), min_size=1, max_size=5), st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_a_round_trip_moves_no_edge_by_more_than_half_a_pixel(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[Box], one_based: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    path.write_bytes(write_csv([("a, b.png", *SIZE, boxes)], one_based))
    (source,), _ = read_csv(path)
    truth = source.read(SIZE, one_based)
    assert (truth.name, [box.label for box in truth.boxes]) == (
        "a, b.png",
        [b.label for b in boxes],
    )
    for before, after in zip(boxes, truth.boxes, strict=True):
        for drawn, kept in zip(before.xyxy_px, after.xyxy_px, strict=True):
            assert math.fabs(drawn - kept) <= 0.5


def test_lines_of_one_image_belong_together_wherever_they_stand(read: Any) -> None:
    sources, notes = read(
        NAMES, "b.png,64,48,N,1,2,3,4", "a.png,64,48,N,5,6,7,8", "b.png,64,48,M,0,0,9,9"
    )
    assert [(s.stem, [b.label for b in s.read().boxes]) for s in sources] == [
        ("a", ["N"]),
        ("b", ["N", "M"]),
    ]
    assert notes == []


@pytest.mark.parametrize(
    "lines",
    [
        (NAMES, "a.png,64,48,N,1,2,3,4"),
        ("class;xmin;ymin;xmax;ymax;filename;more", "N;1;2;3;4;a.png;x"),
        ("a.png,64,48,N,1,2,3,4",),
        ("images/a.png,1,2,3,4,N", "images/b.png,1,2,3,4,N"),
        (r"C:\images\a.png,1,2,3,4,N",),
        (NAMES.replace(",", "\t"), "a.png\t64\t48\tN\t1\t2\t3\t4"),
        ("sep=;", NAMES.replace(",", ";"), "a.png;64;48;N;1,0;2,00;3;4"),
        ("sep=; ", "a.png;1;2;3;4;N"),
        (NAMES.upper(), " a.png , 64,48, N, 1.0, 2 ,3,4", "", ",,,,,,,"),
    ],
)
def test_both_formats_are_read_with_names_in_any_order(read: Any, lines: tuple[str, ...]) -> None:
    sources, notes = read(*lines, encoding="utf-8-sig")
    truth = sources[0].read()
    assert (truth.name, truth.boxes) == ("a.png", (Box(1, 2, 3, 4, "N"),))
    assert notes == []


@pytest.mark.parametrize("size", [",", "0,48", "64,0", "-64,48"])
def test_a_size_that_no_image_has_says_nothing_of_the_images(read: Any, size: str) -> None:
    (source,), _ = read(NAMES, f"a.png,{size},N,1,2,3,4")
    truth = source.read((64, 48))
    assert (truth.boxes, truth.notes) == ((Box(1, 2, 3, 4, "N"),), ())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.png,64,48,N,1,2,3", "line 3 left out: it has 7 values, not 8"),
        (",64,48,N,1,2,3,4", "line 3 left out: it names no image"),
        ("a.png,64,48,N,one,2,3,4", "line 3 (N) left out: it needs a class and four numbers"),
        ('a.png,64,48,N,"1,030",2,3,4', "line 3 (N) left out: it needs a class and four numbers"),
        ("a.png,64,48,,1,2,3,4", "line 3 (without a class) left out"),
        ("a.png,64,48,N,5,5,5,5", "line 3 (N) (5, 5, 5, 5) left out: it has no size"),
        ("a.png,64,48,N,70,2,90,4", "line 3 (N) (70, 2, 90, 4) left out: it lies outside"),
        ("a.png,64,48,N,50,2,70,40", "line 3 (N) (50, 2, 70, 40) clipped to the 64×48 px image"),
        ("a.png,64,48,N,50,2,90,40", "line 3 (N) (50, 2, 90, 40) left out: it lies outside the 64"),
        ("a.png,32,24,N,9,9,12,12", "several sizes, 64×48, 32×24 px: the first is taken"),
    ],
)
def test_a_bad_line_is_told_with_its_number(read: Any, line: str, reason: str) -> None:
    (source,), notes = read(NAMES, "a.png,64,48,N,1,2,3,4", line)
    truth = source.read()
    assert truth.boxes[0] == Box(1, 2, 3, 4, "N")
    (note,) = [*notes, *truth.notes]
    assert note.startswith("boxes.csv")
    assert reason in note


@pytest.mark.parametrize("line", ["a.png,64,48,,,,,", "a.png,,,,,,,"])
def test_a_line_with_a_name_alone_is_an_image_without_a_cell(read: Any, line: str) -> None:
    (source,), notes = read(NAMES, line)
    truth = source.read((64, 48))
    assert (truth.boxes, truth.notes, notes) == ((), (), [])


@pytest.mark.parametrize(
    "lines", [("",), ("image,count", "a.png,3"), ("file,x,y,w,h,name", "a.png,1,2,3,4,N")]
)
def test_what_has_neither_formats_columns_is_refused(read: Any, lines: tuple[str, ...]) -> None:
    with pytest.raises(BadRequest, match="must name filename,width,height,class"):
        read(*lines)


def test_a_csv_without_a_usable_line_or_of_another_encoding_is_refused(
    read: Any, tmp_path: Path
) -> None:
    with pytest.raises(BadRequest, match=r"no line with a box(.|\n)*line 2 left out"):
        read(NAMES, "a.png,1")
    with pytest.raises(BadRequest, match=r"boxes\.csv is no UTF-8 \(line 2\): save it as UTF-8"):
        read(NAMES, "Größe.png,64,48,N,1,2,3,4", encoding="latin-1")
    with pytest.raises(BadRequest, match="is not there"):
        read_csv(tmp_path / "none.csv")


def test_lines_behind_the_one_that_says_what_divides_keep_their_numbers(read: Any) -> None:
    _, notes = read("sep=;", NAMES.replace(",", ";"), "a.png;64;48;N;1,5;2;3;4", ";64;48;N;1;2;3;4")
    assert notes == ["boxes.csv: line 4 left out: it names no image"]


@pytest.mark.parametrize("last", ["b.png,64,48,N,1,2,3,4", 'b.png,64,48,"N",1,2,3,4'])
def test_a_stray_quote_is_told_with_its_line_and_swallows_no_other(read: Any, last: str) -> None:
    with pytest.raises(
        BadRequest, match=r"boxes\.csv, line 3: a quote \(\"\) opens and does not close"
    ):
        read(NAMES, "a.png,64,48,N,1,2,3,4", 'a.png,64,48,"N,5,2,9,4', last)


def test_a_line_that_is_no_csv_is_told_with_its_number(read: Any) -> None:
    endless = "N" * (csv.field_size_limit() + 1)
    with pytest.raises(BadRequest, match=r"boxes\.csv, line 3: field larger than .*; mend it\."):
        read(NAMES, "a.png,64,48,N,1,2,3,4", f"b.png,64,48,{endless},1,2,3,4")


def test_a_folder_is_labelled_by_a_csv(tmp_path: Path, save_image: Save) -> None:
    for seed, name in enumerate(("a.png", "b.jpg", "c.png")):
        save_image(tmp_path / "in" / name, seed=seed)
    path = tmp_path / "boxes.csv"
    lines = [NAMES, "x/a.png,64,48,N,1,2,3,4", "b.png,64,48,N,5,6,9,9", "d.png,64,48,N,1,1,9,9"]
    path.write_text("\n".join(lines))
    folder = labelled_folder(tmp_path / "in", path, Notation({"N": "Cell"}))
    assert [(i.name, i.boxes) for i in folder.images] == [
        ("a.png", (Box(1, 2, 3, 4, "Cell"),)),
        ("b.jpg", (Box(5, 6, 9, 9, "Cell"),)),
    ]
    assert folder.notes == (
        "1 image left out, without an annotation of the same stem: c.png",
        "1 annotation left out, without an image of the same stem: boxes.csv (d.png)",
    )


def test_names_that_differ_in_upper_and_lower_case_alone_are_told(
    services: Services, label_studio: Any, project: int, tmp_path: Path, save_image: Save
) -> None:
    for seed, name in enumerate(("a.png", "b.png")):
        save_image(tmp_path / "in" / name, seed=seed)
    path = tmp_path / "boxes.csv"
    told = "b.png and boxes.csv (B.PNG) differ in upper and lower case alone; name them alike"
    path.write_text("a.png,1,2,30,40,Cell\nB.PNG,1,2,30,40,Cell\n")
    assert labelled_folder(tmp_path / "in", path).notes[-1] == told
    assert import_folder(services, project, tmp_path / "in", path).notes[-1] == told
    path.write_text("B.PNG,1,2,30,40,Cell\n")
    with pytest.raises(BadRequest, match="name them alike"):
        import_folder(services, project, tmp_path / "in", path)


def test_a_csv_that_lies_beside_its_images_is_not_told_as_left_out(
    services: Services,
    label_studio: Any,
    project: int,
    tmp_path: Path,
    save_image: Save,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_image(tmp_path / "in" / "a.png")
    path = tmp_path / "in" / "boxes.csv"
    path.write_text(f"{NAMES}\na.png,64,48,Cell,4,5,20,25\n")
    (tmp_path / "in" / "readme.txt").touch()
    monkeypatch.chdir(tmp_path)
    for named in (path, path.relative_to(tmp_path)):
        folder = labelled_folder(tmp_path / "in", named)
        assert folder.notes == ("1 other file left out: readme.txt",)
    done = import_folder(services, project, tmp_path / "in", path)
    assert done.notes == ["1 other file left out: readme.txt"]


def test_images_of_two_folders_with_one_name_are_not_mixed_up(
    tmp_path: Path, save_image: Save
) -> None:
    for seed, name in enumerate(("a.png", "b.png")):
        save_image(tmp_path / "in" / name, seed=seed)
    path = tmp_path / "boxes.csv"
    path.write_text("x/a.png,1,2,3,4,N\ny/a.png,5,6,7,8,N\nb.png,1,2,3,4,N\n")
    folder = labelled_folder(tmp_path / "in", path)
    assert [image.name for image in folder.images] == ["b.png"]
    assert "boxes.csv (x/a.png), boxes.csv (y/a.png) speak of images of one stem" in folder.notes[0]


def test_boxes_of_a_csv_become_annotations_and_go_out_again_as_they_came(
    services: Services, label_studio: Any, project: int, tmp_path: Path, save_image: Save
) -> None:
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        save_image(tmp_path / "in" / name, seed=seed)
    path = tmp_path / "boxes.csv"
    path.write_text(
        f"{NAMES}\na.png,64,48,Cell,4,5,20,25\nb.png,64,48,Cell,1,9,7,30\nc.png,,,,,,,\n"
    )
    done = import_folder(services, project, tmp_path / "in", path)
    assert (done.tasks, done.annotated, done.notes) == (3, 3, [])
    out = export_csv(services, project, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "\n".join(path.read_text().splitlines()[:3]) + "\n"
    assert (out.images, out.boxes) == (3, 2)
    assert out.notes == ("without a cell, and so without a line: c.png",)


def test_lines_of_an_image_with_one_fate_share_a_note_that_names_the_first(read: Any) -> None:
    lines = [f"a.png,64,48,N,{x},2,9999,40" for x in range(5)]
    (source,), _ = read(NAMES, "a.png,64,48,N,1,2,3,4", *lines)
    truth = source.read((64, 48))
    (note,) = truth.notes
    assert (len(truth.boxes), truth.unusable) == (1, 5)
    assert "line 7 (N) (4, 2, 9999, 40) left out: each lies outside the 64×48 px image" in note
    (shown,) = first_of([note])
    assert shown.startswith("boxes.csv (a.png): line 3 (N) (0, 2, 9999, 40), line 4")
    assert "line 5 (N) (2, 2, 9999, 40) and 2 more left out: each lies outside" in shown
