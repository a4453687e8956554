from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.datasets.counts import CountedImage, counts_csv
from backend.datasets.drawing import draw_boxes
from backend.datasets.naming import UniqueNames
from backend.datasets.voc import read_voc, write_voc
from backend.datasets.writing import (
    as_csv,
    partial_file,
    partial_folder,
    require_empty,
    write_whole,
)
from backend.errors import BadRequest
from model.boxes import Box


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "counts.csv"
    target.write_text("old")

    def write_and_be_stopped() -> None:
        with partial_file(target) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_be_stopped()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["counts.csv"]


def test_a_name_as_long_as_a_file_may_have_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("b" * 255)
    write_whole(target, b"whole")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]
    target.unlink()
    with partial_folder(target):
        pass
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_in_the_place_of_a_file_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, Path()):
        with pytest.raises(BadRequest, match=f"{path} is a folder: name a file"):
            write_whole(path, b"whole")
    assert list(tmp_path.iterdir()) == []


def test_an_error_names_the_place_that_was_asked_for(tmp_path: Path) -> None:
    def fill_the_disk() -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"more")

    place = tmp_path / "counts"
    with pytest.raises(OSError, match=f"No space left on device: '{place}'$"), partial_file(place):
        fill_the_disk()
    with pytest.raises(OSError, match=f"'{place}'$"), partial_folder(place) as partial:
        partial.read_bytes()
    with pytest.raises(OSError, match=f"'{place}.png'$"), partial_file(place):
        place.with_suffix(".png").read_bytes()


def test_half_a_character_is_written_as_its_escape() -> None:
    assert as_csv([["name", "size"], ["é.png", "\ud800×100"]]).decode("utf-8") == (
        "name,size\né.png,\\ud800×100\n"
    )


def test_a_folder_is_there_whole_or_not_at_all_and_takes_no_others_place(tmp_path: Path) -> None:
    target = tmp_path / "export"
    target.mkdir()
    with partial_folder(target) as partial:  # an empty one is taken
        (partial / "a.xml").write_text("whole")

    def write_and_be_stopped() -> None:
        with partial_folder(tmp_path / "other") as partial:
            (partial / "a.xml").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_be_stopped()
    with pytest.raises(OSError, match="not empty"), partial_folder(target) as partial:
        (partial / "a.xml").write_text("another")
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert (target / "a.xml").read_text() == "whole"


def test_an_empty_folder_is_taken_through_a_link_and_from_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, link = tmp_path / "empty", tmp_path / "link"
    empty.mkdir()
    link.symlink_to(empty)
    with partial_folder(link) as partial:
        (partial / "a.xml").write_text("whole")
    assert (empty / "a.xml").read_text() == "whole"
    within = tmp_path / "within"
    within.mkdir()
    monkeypatch.chdir(within)
    with partial_folder(Path()) as partial:
        (partial / "a.xml").write_text("whole")
    assert (within / "a.xml").read_text() == "whole"


def test_what_a_killed_write_or_a_file_system_left_does_not_make_a_folder_somebodys(
    tmp_path: Path,
) -> None:
    with partial_file(tmp_path / "counts.csv") as partial:
        left = tmp_path / partial.name
        partial.write_text("half")
    left.write_text("half")
    (tmp_path / "counts.csv").unlink()
    require_empty(tmp_path)
    for name in (".DS_Store", "Thumbs.db"):
        (tmp_path / name).touch()
    require_empty(tmp_path)
    (tmp_path / "own.csv").touch()
    with pytest.raises(BadRequest, match="holds files already"):
        require_empty(tmp_path)
    with pytest.raises(BadRequest, match=r"own\.csv is a file: give a new folder"):
        require_empty(tmp_path / "own.csv")


def test_a_folder_that_was_begun_is_gone_on_with_and_another_is_refused(tmp_path: Path) -> None:
    begun, other = tmp_path / "begun", tmp_path / "other"
    for path in (begun / "effort.csv", begun / "more.txt", other / "more.txt"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    require_empty(begun, ["effort.csv", "home"])
    require_empty(tmp_path / "new", ["effort.csv", "home"])
    with pytest.raises(BadRequest, match="holds files already"):
        require_empty(other, ["effort.csv", "home"])


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.png", "a.tif", "b.png"], ["a", "a-2", "b"]),
        (["A.png", "a.png"], ["A", "a-2"]),
        (["a-2.png", "a.png", "a.tif"], ["a-2", "a", "a-3"]),
        (["../../etc/passwd.png", "C:\\x\\y.tif"], ["passwd", "y"]),
        (["a.png", "a-2.png", "A.png", "a.tif"], ["a", "a-2", "A-3", "a-4"]),
        (["a.png", "a.png", "a-2.png", "a-2.png"], ["a", "a-2", "a-2-2", "a-2-3"]),
        (["..", "", "what?.png"], ["image", "image-2", "what_"]),
        (["\u00e4.png", "a\u0308.png"], ["\u00e4", "a\u0308-2"]),
        (["b" * 245 + ".png", "b" * 244 + ".tif"], ["b" * 200, "b" * 200 + "-2"]),
        (["细" * 80 + ".png", "x" + "细" * 80 + ".png"], ["细" * 66, "x" + "细" * 66]),
    ],
)
def test_every_image_gets_a_safe_stem_of_its_own(names: list[str], stems: list[str]) -> None:
    unique = UniqueNames()
    assert [unique.stem(name) for name in names] == stems


def test_a_voc_file_is_read_whatever_is_in_the_name_that_its_image_had(tmp_path: Path) -> None:
    unique = UniqueNames()
    for point in (*range(1, 0xA1), 0x2028, 0xFEFF, 0xFFFE, 0xFFFF, 0x1F9EC):
        name = f"{unique.stem(f'a{chr(point)}b.png')}.png"
        write_voc(tmp_path / "a.xml", name, 8, 8, 1, [])
        assert read_voc(tmp_path / "a.xml").name == name


def test_many_images_of_one_name_are_numbered_without_each_number_being_tried_anew() -> None:
    unique, tried = UniqueNames(), []

    class Watched(set[str]):
        def __contains__(self, key: object) -> bool:
            tried.append(key)
            return super().__contains__(key)

    unique._taken = Watched()
    assert [unique.stem("a.png") for _ in range(500)][-1] == "a-500"
    assert len(tried) < 1500


def test_counts_have_a_row_for_each_class_and_a_density_per_thousand_pixels() -> None:
    boxes = (Box(0, 0, 5, 5, "N"), Box(5, 5, 9, 9, "N"))
    seen = CountedImage("a.png", 100, 50, boxes, "corrected", "v1", "anna@lab", ("odd", "cut"))
    empty = CountedImage("b,c.png", 100, 50, (), "predicted", "v1")
    unknown = CountedImage("d.png", 100, 50, (), "none")
    assert counts_csv([seen, empty, unknown], ["N", "M"]).decode().splitlines() == [
        "image,class,source,count,density_per_1000_px,model_version,annotator,flags",
        "a.png,N,corrected,2,0.4,v1,anna@lab,odd; cut",
        "a.png,M,corrected,0,0,v1,anna@lab,odd; cut",
        '"b,c.png",N,predicted,0,0,v1,,',
        '"b,c.png",M,predicted,0,0,v1,,',
        "d.png,N,none,,,,,",
        "d.png,M,none,,,,,",
    ]


def test_a_drawn_box_lies_on_the_pixels_it_covers() -> None:
    png = draw_boxes(np.zeros((20, 30), np.uint16), [Box(3, 4, 10, 12, "N", 0.5)], scores=True)
    with Image.open(io.BytesIO(png)) as image:
        lit = np.ptp(np.asarray(image), axis=2) > 0  # all else is grey
    rows, columns = np.nonzero(lit)
    assert (columns.min(), columns.max() + 1) == (3, 10)
    assert (rows.min(), rows.max() + 1) == (4, 12)
    assert lit.shape == (20, 30)
    assert not lit[6, 6]
