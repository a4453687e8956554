from __future__ import annotations

import csv
import errno
import fcntl
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from backend.datasets import packing
from backend.datasets.export import export_counts, export_csv, export_voc
from backend.datasets.folder import labelled_folder
from backend.datasets.rawfiles import is_known_turned, told_of
from backend.datasets.voc import read_voc
from backend.errors import BadRequest, NotFound
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.services import Services
from model.boxes import Box
from tests.backend.datasets.conftest import CELL, HEIGHT, NOW, WIDTH

Save = Callable[..., Path]
Put = Callable[..., str]


def test_an_export_reads_back_as_what_was_corrected(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    sha256 = put(1, "a.tif", corrected=[CELL])
    put(2, "b.png", corrected=[])
    put(3, "c.png", predicted=[CELL])
    done = export_voc(services, project, tmp_path / "out")
    assert (done.images, done.boxes, done.notes) == (2, 1, ())
    folder = labelled_folder(tmp_path / "out" / "images", tmp_path / "out" / "annotations")
    first, second = folder.images
    assert (first.sha256, first.name, second.name, second.boxes) == (sha256, "a.tif", "b.png", ())
    assert np.abs(first.xyxy_px - [CELL.xyxy_px]).max() <= 0.5
    assert folder.notes == ("1 image without a box, taken as without cells: b.png",)


def test_images_of_one_name_do_not_overwrite_each_other(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    for task, name in enumerate(("a.png", "a.png", "A.tif"), start=1):
        put(task, name, corrected=[CELL])
    export_voc(services, project, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        images = [name for name in archive.namelist() if name.startswith("images/")]
        contents = {archive.read(name) for name in images}
        stems = {Path(n).stem for n in archive.namelist() if n.startswith("annotations/")}
    assert sorted(images) == ["images/A-3.tif", "images/a-2.png", "images/a.png"]
    assert stems == {Path(name).stem for name in images}
    assert len(contents) == 3


def test_an_image_file_of_before_1980_comes_into_the_zip(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png", corrected=[CELL])
    os.utime(services.images.path(sha256), (0, 0))
    export_voc(services, project, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.getinfo("images/a.png").date_time[0] == 1980


def test_predictions_come_along_when_asked_for_and_say_so(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[CELL], predicted=[CELL, CELL])
    put(2, "b.png", predicted=[CELL, CELL])
    put(3, "c.png")
    done = export_voc(services, project, tmp_path / "out", corrected_only=False)
    assert (done.images, done.boxes) == (2, 3)
    (unknown,) = done.notes
    assert unknown.startswith("nothing known yet, since nobody opened it")
    assert ": c.png; " in unknown
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert [(i["image"], i["source"], i["model_version"]) for i in told["images"]] == [
        ("a.png", "corrected", "v1+0.5"),
        ("b.png", "predicted", "v1+0.5"),
    ]


def test_one_based_files_are_one_more_at_the_near_edges(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[CELL])
    export_voc(services, project, tmp_path / "one", one_based=True, with_images=False)
    assert not (tmp_path / "one" / "images").exists()
    (box,) = read_voc(tmp_path / "one" / "annotations" / "a.xml").boxes
    assert box.xyxy_px == (5, 6, 20, 25)
    told = json.loads((tmp_path / "one" / "export.json").read_text())
    assert told["coordinates"] == "1-based, inclusive"


def test_a_page_of_a_stack_is_exported_as_an_image_of_its_own(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    stack = np.arange(2 * 48 * 64, dtype=np.uint16).reshape(2, 48, 64)
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack")
    put(1, "s-page2.tif", corrected=[CELL], data=(tmp_path / "s.tif").read_bytes(), page=1)
    export_voc(services, project, tmp_path / "out")
    assert (tifffile.imread(tmp_path / "out" / "images" / "s-page2.tif") == stack[1]).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_images_that_a_tag_turns_are_named_since_some_tools_ignore_it(
    services: Services, project: int, put: Put, save_turned: Save, tmp_path: Path, suffix: str
) -> None:
    turned = save_turned(tmp_path / f"turned.{suffix}").read_bytes()
    put(1, f"eyepiece.{suffix}", corrected=[CELL], data=turned)
    put(2, f"upright.{suffix}", corrected=[CELL])
    for done in (
        export_voc(services, project, tmp_path / "out"),
        export_csv(services, project, tmp_path / "boxes.csv"),
    ):
        (note,) = done.notes
        assert note.endswith(f"ignore the tag see them elsewhere: eyepiece.{suffix}")


def test_a_page_of_a_colour_stack_has_the_depth_that_it_is_exported_with(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    stack = np.zeros((2, 48, 64, 3), np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="rgb")
    put(1, "s-page2.tif", corrected=[CELL], data=(tmp_path / "s.tif").read_bytes(), page=1)
    export_voc(services, project, tmp_path / "out")
    assert "<depth>1</depth>" in (tmp_path / "out" / "annotations" / "s-page2.xml").read_text()


def test_a_tiff_larger_than_pillow_opens_is_exported(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    levels = np.zeros((13_500, 13_500), np.uint8)
    tifffile.imwrite(tmp_path / "l.tif", levels, compression="zlib")
    put(1, "l.tif", corrected=[CELL], data=(tmp_path / "l.tif").read_bytes())
    export_voc(services, project, tmp_path / "out", with_images=False)
    assert "<depth>1</depth>" in (tmp_path / "out" / "annotations" / "l.xml").read_text()


def test_the_channels_of_a_png_that_pillow_would_warn_of_are_told(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9_500, 9_500), np.uint8)).save(tmp_path / "l.png", compress_level=1)
    assert told_of(tmp_path / "l.png") == (1, False)


def test_a_colour_tiff_of_16_bit_has_depth_3(tmp_path: Path) -> None:
    levels = np.zeros((48, 64, 3), np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", levels, photometric="rgb")
    assert told_of(tmp_path / "c.tif") == (3, False)


def test_an_export_into_a_folder_that_holds_something_is_refused(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[CELL])
    (tmp_path / "mine").mkdir()
    export_voc(services, project, tmp_path / "mine")  # empty: taken
    with pytest.raises(BadRequest, match="nothing is overwritten"):
        export_voc(services, project, tmp_path / "mine")


@pytest.mark.parametrize("name", ["out", "new/out", "out.zip"])
def test_an_export_needs_no_locks_of_the_file_server_it_is_written_to(
    services: Services,
    project: int,
    put: Put,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(1, "a.png", corrected=[CELL])

    def refused(descriptor: int, how: int) -> None:  # as NFS does for a folder, open to read
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refused)
    before = set(tmp_path.iterdir())
    export_voc(services, project, tmp_path / name)
    assert set(tmp_path.iterdir()) - before == {tmp_path / Path(name).parts[0]}


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_an_interrupted_export_leaves_nothing(
    services: Services,
    project: int,
    put: Put,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for task in (1, 2):
        put(task, f"{task}.png", corrected=[CELL])
    before = set(tmp_path.iterdir())
    calls = []

    def stopped(*args: object) -> bytes:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return b"<annotation/>"

    monkeypatch.setattr(packing, "voc_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        export_voc(services, project, tmp_path / name)
    assert set(tmp_path.iterdir()) == before


def test_a_damaged_or_lost_file_is_not_taken_for_one_that_a_tag_turns(
    services: Services, project: int, put: Put, save_turned: Save, tmp_path: Path
) -> None:
    sha256 = put(1, "a.tif", corrected=[CELL], data=save_turned(tmp_path / "a.tif").read_bytes())
    raw = services.images.path(sha256)
    assert is_known_turned(raw)
    raw.write_bytes(b"II*")
    assert not is_known_turned(raw)
    assert export_csv(services, project, tmp_path / "boxes.csv").notes == ()
    raw.unlink()
    assert export_csv(services, project, tmp_path / "boxes.csv").notes == ()


def test_an_export_tells_within_it_what_was_left_out_or_odd(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png", corrected=[CELL, CELL])
    services.annotations.record(Annotation(9, project, 9, (), NOW, NOW))
    services.images.path(sha256).unlink()
    done = export_voc(services, project, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert tuple(told["notes"]) == done.notes
    assert told["coordinates"] == "0-based, half-open"
    parts = ("task 9 left out", "looks wrong", "the raw file is gone")
    assert [part in note for part, note in zip(parts, done.notes, strict=True)] == [True] * 3


def test_nothing_corrected_or_no_project_is_told(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", predicted=[CELL])
    with pytest.raises(BadRequest, match="no corrected image"):
        export_voc(services, project, tmp_path / "out")
    with pytest.raises(NotFound):
        export_voc(services, 77, tmp_path / "out")


def test_an_image_of_which_nothing_drawn_can_be_used_has_no_count_and_is_left_out(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[], predicted=[CELL])
    (region,) = to_regions([CELL], 64, 48, interface)
    turned, later = {**region, "image_rotation": 90}, NOW.replace(hour=1)
    services.annotations.record(Annotation(1, project, 1, (turned,), NOW, later))
    with pytest.raises(BadRequest, match="turned in the page"):
        export_voc(services, project, tmp_path / "out")
    put(2, "b.png", corrected=[])
    for corrected_only in (True, False):
        export = (services, project, tmp_path / "out.zip")
        done = export_voc(*export, corrected_only=corrected_only)
        assert done.images == 1
        assert done.notes[0] == "left out, since nothing of what was drawn can be used: a.png"
        assert "turned in the page" in done.notes[-1]
    assert export_csv(services, project, tmp_path / "b.csv").images == 1
    assert export_counts(services, project, tmp_path / "counts.csv").notes == done.notes[1:]
    first, *_ = csv.DictReader((tmp_path / "counts.csv").read_text().splitlines())
    assert (first["image"], first["count"], first["model_version"]) == ("a.png", "", "v1+0.5")
    assert first["flags"].startswith("none of its boxes can be used; region")


def test_images_of_one_name_are_told_apart_by_the_same_names_in_all_exports(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", predicted=[CELL, CELL])
    put(2, "a.png", corrected=[CELL])
    kept = "the same in all exports; an image whose task was deleted keeps its name"
    told = (f"under another name ({kept}): a.png (a-2.png)",)
    assert export_csv(services, project, tmp_path / "b.csv", one_based=True).notes == told
    lines = (tmp_path / "b.csv").read_text().splitlines()
    assert lines[1:] == ["a-2.png,64,48,Cell,5,6,20,25"]
    assert export_counts(services, project, tmp_path / "counts.csv").notes == told
    with (tmp_path / "counts.csv").open(newline="") as file:
        counts = [(r["image"], r["count"]) for r in csv.DictReader(file) if r["class"] == "Cell"]
    assert counts == [("a.png", "2"), ("a-2.png", "1")]
    export_voc(services, project, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "annotations").iterdir()] == ["a-2.xml"]


@pytest.mark.parametrize("content", [b"", b"II*\0", b"II*\0\x08\0\0\0", b"\x89PNG\r\n\x1a\n"])
def test_boxes_of_an_image_whose_file_was_damaged_since_are_exported_all_the_same(
    services: Services, project: int, put: Put, tmp_path: Path, content: bytes
) -> None:
    services.images.path(put(1, "a.png", corrected=[CELL])).write_bytes(content)
    put(2, "b.png", corrected=[CELL])
    assert export_csv(services, project, tmp_path / "b.csv").boxes == 2
    done = export_voc(services, project, tmp_path / "out")
    assert done.notes == ("a.png: its raw file is damaged, only its boxes came",)
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["b.png"]
    voc = tmp_path / "out" / "annotations" / "a.xml"
    assert "<depth>1</depth>" in voc.read_text()
    assert len(read_voc(voc).boxes) == 1
    assert json.loads((tmp_path / "out" / "export.json").read_text())["notes"] == [*done.notes]


def test_a_page_of_a_stack_that_was_damaged_since_is_left_out_of_an_export(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    stack = np.arange(2 * 48 * 64, dtype=np.uint16).reshape(2, 48, 64)
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack")
    content = (tmp_path / "s.tif").read_bytes()
    sha256 = put(1, "s-page2.tif", corrected=[CELL], data=content, page=1)
    services.images.path(sha256).write_bytes(content[:-100])
    done = export_voc(services, project, tmp_path / "out")
    assert done.notes == ("s-page2.tif: its raw file is damaged, only its boxes came",)
    assert not (tmp_path / "out" / "images").exists()
    assert len(read_voc(tmp_path / "out" / "annotations" / "s-page2.xml").boxes) == 1


def test_what_gives_no_box_is_listed_also_of_an_image_of_which_nothing_does(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    put(1, "a.png")
    put(2, "b.png")
    outside = to_regions([CELL], WIDTH, HEIGHT, interface)[0]
    outside["value"]["x"] = 200
    whole = to_regions([CELL], WIDTH, HEIGHT, interface)
    for task, regions in ((1, [*whole, outside]), (2, [outside])):
        services.annotations.record(
            Annotation(task, project, task, tuple(regions), NOW, NOW, lead_time=9.0)
        )
    done = export_voc(services, project, tmp_path / "out")
    assert (done.images, done.boxes) == (1, 1)
    with (tmp_path / "out" / "warnings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["image"], r["class"], r["xmin"], r["reason"]) for r in rows] == [
        ("a.png", "Cell", "128.0", "unusable"),
        ("b.png", "Cell", "128.0", "unusable"),
    ]
    assert rows[0]["why"].startswith("it lies outside the image, at (128, 5.4, ")


def test_boxes_that_look_wrong_are_exported_as_drawn_and_listed(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", predicted=[CELL, CELL])
    put(2, "b.png", corrected=[CELL, CELL, Box(1, 1, 2, 40, "Cell")])
    done = export_voc(services, project, tmp_path / "out")
    assert len(read_voc(tmp_path / "out" / "annotations" / "b.xml").boxes) == 3
    said = "2 boxes look wrong (1 thinner than two pixels, 1 doubled): exported as drawn and listed"
    assert done.notes == (f"{said} in warnings.csv",)
    with (tmp_path / "out" / "warnings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["image"], r["class"], r["xmin"], r["reason"]) for r in rows] == [
        ("b.png", "Cell", str(CELL.xmin), "double"),
        ("b.png", "Cell", "1.0", "one-pixel"),
    ]
    export_counts(services, project, tmp_path / "counts.csv")
    with (tmp_path / "counts.csv").open(newline="") as file:
        flags = {(r["image"], r["count"]): r["flags"] for r in csv.DictReader(file)}
    assert flags["a.png", "2"] == ""
    assert flags["b.png", "3"].startswith("2 boxes look wrong")
