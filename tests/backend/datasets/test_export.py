from __future__ import annotations

import csv
import errno
import fcntl
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from backend.datasets import export
from backend.datasets.export import export_counts, export_csv, export_voc
from backend.datasets.folder import labelled_folder
from backend.datasets.rawfiles import depth_of
from backend.datasets.voc import read_voc
from backend.effort.watch import show_blank
from backend.errors import BadRequest, NotFound
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.services import Services
from backend.store.annotations import Annotation
from model.boxes import Box
from model.champions import Champions
from model.classical import CLASSICAL_ID
from model.starter import STARTER_ID

Save = Callable[..., Path]
Put = Callable[..., str]
CELL = Box(4.4, 5.4, 20.3, 25.2, "Cell")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def interface(services: Services, project: int) -> LabellingInterface:
    return LabellingInterface.parse(services.projects.get(project).label_config)


@pytest.fixture
def put(
    services: Services,
    project: int,
    tmp_path: Path,
    save_image: Save,
    interface: LabellingInterface,
) -> Put:
    """Put an image into the project: its boxes corrected, predicted, or unknown (None)."""

    def put_one(
        task: int,
        name: str,
        corrected: Sequence[Box] | None = None,
        predicted: Sequence[Box] | None = None,
        data: bytes = b"",
        page: int = 0,
    ) -> str:
        path = save_image(tmp_path / "raw" / f"{task}{Path(name).suffix}", seed=task)
        sha256 = services.images.keep(data or path.read_bytes())
        services.images.add(project, sha256, page, name, 64, 48)
        services.images.attach_task(project, sha256, page, task)
        if predicted is not None:
            regions = to_regions(predicted, 64, 48, interface)
            services.predictions.add(project, task, sha256, page, "v1+0.5", regions, 0.5)
        if corrected is not None:
            result = tuple(to_regions(corrected, 64, 48, interface))
            services.annotations.record(
                Annotation(task, project, task, result, NOW, NOW, annotator="1")
            )
        return sha256

    return put_one


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
    assert folder.notes == ()


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


def test_predictions_come_along_when_asked_for_and_say_so(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[CELL], predicted=[CELL, CELL])
    put(2, "b.png", predicted=[CELL, CELL])
    put(3, "c.png")
    done = export_voc(services, project, tmp_path / "out", corrected_only=False)
    assert (done.images, done.boxes) == (2, 3)
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


def test_the_depth_of_a_png_that_pillow_would_warn_of_is_told(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9_500, 9_500), np.uint8)).save(tmp_path / "l.png", compress_level=1)
    assert depth_of(tmp_path / "l.png") == 1


def test_a_colour_tiff_of_16_bit_has_depth_3(tmp_path: Path) -> None:
    levels = np.zeros((48, 64, 3), np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", levels, photometric="rgb")
    assert depth_of(tmp_path / "c.tif") == 3


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

    monkeypatch.setattr(export, "voc_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        export_voc(services, project, tmp_path / name)
    assert set(tmp_path.iterdir()) == before


def test_an_export_tells_within_it_what_was_left_out_or_odd(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png", corrected=[CELL, CELL])
    services.annotations.record(Annotation(9, project, 9, (), NOW, NOW))
    services.images.path(sha256).unlink()
    done = export_voc(services, project, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert tuple(told["notes"]) == done.notes
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


def test_counts_name_the_source_the_version_and_the_annotator(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[CELL], predicted=[CELL, CELL])
    put(2, "b.png", predicted=[CELL, CELL, Box(1, 1, 9, 9, "Debris")])
    put(3, "c.png", corrected=[])
    put(4, "d.png")
    services.annotators.call({"1": "anna@lab"})
    export_counts(services, project, tmp_path / "counts.csv")
    with (tmp_path / "counts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    counted = [(r["image"], r["class"], r["source"], r["count"]) for r in rows]
    assert counted == [
        ("a.png", "Cell", "corrected", "1"),
        ("a.png", "Debris", "corrected", "0"),
        ("b.png", "Cell", "predicted", "2"),
        ("b.png", "Debris", "predicted", "1"),
        ("c.png", "Cell", "corrected", "0"),
        ("c.png", "Debris", "corrected", "0"),
        ("d.png", "Cell", "none", ""),
        ("d.png", "Debris", "none", ""),
    ]
    assert float(rows[2]["density_per_1000_px"]) == pytest.approx(2 / (64 * 48) * 1000, rel=1e-5)
    assert (rows[0]["model_version"], rows[0]["annotator"]) == ("v1+0.5", "anna@lab")
    assert (rows[2]["model_version"], rows[2]["annotator"]) == ("v1+0.5", "")


def test_a_corrected_image_names_the_version_whose_boxes_were_corrected_not_a_later_one(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png", corrected=[CELL], predicted=[CELL])
    later = to_regions([Box(30, 5, 40, 20, "Cell")], 64, 48, interface)
    flags = ("limit reached: 1,000 cells",)
    services.predictions.add(project, 1, sha256, 0, "v2+0.5", later, 0.5, flags=flags)
    export_counts(services, project, tmp_path / "counts.csv")
    assert ",Cell,corrected,1,0.325521,v1+0.5,1,\n" in (tmp_path / "counts.csv").read_text()


def test_of_two_tasks_of_one_image_the_correction_updated_last_counts(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png", corrected=[CELL])
    services.images.attach_task(project, sha256, 0, 2)
    two = tuple(to_regions([CELL, Box(30, 5, 40, 20, "Cell")], 64, 48, interface))
    later = NOW + timedelta(minutes=1)
    services.annotations.record(Annotation(2, project, 2, two, NOW, later))
    assert counted(services, project, tmp_path) == [("a.png", "2", "")]


def test_what_was_odd_about_a_prediction_is_told_with_its_counts(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256, regions = put(1, "a.png"), to_regions([CELL], 64, 48, interface)
    flags = ("limit reached: 1,000 cells",)
    services.predictions.add(project, 1, sha256, 0, "v1+0.5", regions, 0.5, flags=flags)
    export_counts(services, project, tmp_path / "counts.csv")
    rows = csv.DictReader((tmp_path / "counts.csv").read_text().splitlines())
    assert next(rows)["flags"] == flags[0]


def test_after_a_roll_back_the_champions_boxes_count_again(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    key = str(project)
    shas = put(1, "a.png"), put(2, "b.png")
    one = to_regions([CELL], 64, 48, interface)
    two = to_regions([CELL, Box(30, 5, 40, 20, "Cell")], 64, 48, interface)
    former, later = f"{CLASSICAL_ID}+t0.5", f"{STARTER_ID}+t0.4"
    services.registry.promote(key, CLASSICAL_ID)
    assert services.registry.served_name(key) == former
    services.predictions.add(project, 1, shas[0], 0, former, one)
    services.predictions.add(project, 1, shas[0], 0, f"{CLASSICAL_ID}+p0.22-4be09a", two)
    services.registry.promote(key, STARTER_ID)
    for task, sha256 in enumerate(shas, start=1):
        services.predictions.add(project, task, sha256, 0, later, two)
    assert counted(services, project, tmp_path) == [("a.png", "2", later), ("b.png", "2", later)]
    services.registry.rollback(key)
    assert counted(services, project, tmp_path) == [("a.png", "1", former), ("b.png", "2", later)]
    assert export_voc(services, project, tmp_path / "out", corrected_only=False).boxes == 3


def test_boxes_of_a_class_that_the_config_lost_count_as_the_default_one(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png")
    former = to_regions([replace(CELL, label="Nucleus")], 64, 48, interface)
    services.predictions.add(project, 1, sha256, 0, "v+t0.5", former)
    export_counts(services, project, tmp_path / "counts.csv")
    rows = list(csv.DictReader((tmp_path / "counts.csv").read_text().splitlines()))
    default = services.projects.get(project).default_class
    assert [row["count"] for row in rows if row["class"] == default] == ["1"]
    assert "Nucleus" not in {row["class"] for row in rows}


def test_what_another_image_of_the_tasks_number_was_found_to_hold_is_not_counted(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    former = to_regions([CELL], 64, 48, interface)
    services.predictions.add(project, 1, "ab" * 32, 0, "v+t0.5", former)
    put(1, "a.png")
    export_counts(services, project, tmp_path / "counts.csv")
    rows = list(csv.DictReader((tmp_path / "counts.csv").read_text().splitlines()))
    assert {row["count"] for row in rows} == {""}
    champion = services.registry.served_name(str(project))
    services.predictions.add(project, 1, "ab" * 32, 0, champion, former)
    services.predictions.add(project, 1, services.images.all(project)[0].sha256, 0, "w+t0.5", [])
    assert counted(services, project, tmp_path)[0] == ("a.png", "0", "w+t0.5")


def test_where_the_champion_cannot_be_read_the_newest_boxes_count(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", predicted=[CELL])
    services.registry.promote(str(project), CLASSICAL_ID)
    (services.registry.root / "champions" / f"{project}.json").write_text("torn")
    assert counted(services, project, tmp_path) == [("a.png", "1", "v1+0.5")]


def test_the_champions_boxes_count_also_where_its_folder_cannot_be_read(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png", predicted=[CELL])
    later = to_regions([CELL, Box(30, 5, 40, 20, "Cell")], 64, 48, interface)
    services.predictions.add(project, 1, sha256, 0, "v2+t0.5", later)
    Champions(services.registry.root / "champions", CLASSICAL_ID).promote(str(project), "v1")
    assert counted(services, project, tmp_path) == [("a.png", "1", "v1+0.5")]


def counted(services: Services, project: int, folder: Path) -> list[tuple[str, str, str]]:
    """Image, count and version of each image's cells."""
    export_counts(services, project, folder / "counts.csv")
    with (folder / "counts.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "Cell"]
    return [(row["image"], row["count"], row["model_version"]) for row in rows]


def test_an_image_that_was_skipped_stays_and_its_counts_say_so(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    shas = [put(task, f"{name}.png", predicted=[CELL]) for task, name in enumerate("abcd", start=1)]
    services.images.attach_task(project, shas[1], 0, 5)
    services.images.attach_task(project, shas[2], 0, 6)
    # Of b another task was corrected, of c another was left as it is; d was skipped by mistake.
    for id, (task, is_skipped) in enumerate(
        [(1, True), (2, True), (5, False), (3, True), (4, True), (4, False)], start=1
    ):
        services.annotations.record(
            Annotation(id, project, task, (), NOW, NOW, was_cancelled=is_skipped)
        )
    export_counts(services, project, tmp_path / "counts.csv")
    with (tmp_path / "counts.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "Cell"]
    assert [(r["image"], r["source"], r["count"], r["flags"]) for r in rows] == [
        ("a.png", "predicted", "1", "skipped"),
        ("b.png", "corrected", "0", ""),
        ("c.png", "predicted", "1", "skipped"),
        ("d.png", "corrected", "0", ""),
    ]
    told = "with what was predicted, since annotators skipped it: a.png, c.png"
    export = (services, project, tmp_path / "voc")
    assert export_voc(*export, corrected_only=False).notes == (told,)
    services.annotations.delete(project, [1])
    export_counts(services, project, tmp_path / "counts.csv")
    assert "a.png,Cell,predicted,1,0.325521,v1+0.5,,\n" in (tmp_path / "counts.csv").read_text()


def test_boxes_that_were_drawn_from_none_name_no_version(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[CELL], predicted=[Box(30, 5, 40, 20, "Cell")])
    export_voc(services, project, tmp_path / "out")
    (image,) = json.loads((tmp_path / "out" / "export.json").read_text())["images"]
    assert (image["source"], image["model_version"]) == ("corrected", "")


def test_boxes_that_were_drawn_blind_name_no_version(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png")
    shown = show_blank([replace(CELL, score=0.95)], (64, 48), interface)
    kept = (project, 1, sha256, 0, "v1+0.5", shown.regions, 0.5)
    services.predictions.add(*kept, watch=shown.watch)
    drawn, after = tuple(to_regions([CELL], 64, 48, interface)), datetime(2099, 1, 1, tzinfo=UTC)
    services.annotations.record(Annotation(1, project, 1, drawn, after, after, lead_time=9.0))
    assert counted(services, project, tmp_path) == [("a.png", "1", "")]


def test_a_box_that_is_shown_to_save_work_alone_does_not_count(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png")
    boxes = [replace(CELL, score=0.61), Box(30, 5, 40, 20, "Cell", 0.25)]
    regions = to_regions(boxes, 64, 48, interface)
    kept = (project, 1, sha256, 0, "v1+p0.20-4be09a", regions, 0.5)
    services.predictions.add(*kept, counted_from=0.6)
    export_counts(services, project, tmp_path / "counts.csv")
    assert ",Cell,predicted,1," in (tmp_path / "counts.csv").read_text()
    assert export_voc(services, project, tmp_path / "out", corrected_only=False).boxes == 1


def test_a_region_that_was_changed_for_the_export_is_flagged(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[CELL])
    (turned,) = to_regions([CELL], 64, 48, interface)
    turned["value"]["rotation"] = 30
    later = NOW.replace(hour=1)
    services.annotations.record(Annotation(1, project, 1, (turned,), NOW, later))
    done = export_counts(services, project, tmp_path / "counts.csv")
    assert "envelope" in done.notes[0]
    assert "envelope" in (tmp_path / "counts.csv").read_text()


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
    assert counted(services, project, tmp_path)[0] == ("a.png", "", "v1+0.5")
    rows = csv.DictReader((tmp_path / "counts.csv").read_text().splitlines())
    assert next(rows)["flags"].startswith("none of its boxes can be used; region")


def test_images_of_one_name_are_told_apart_by_the_same_names_in_all_exports(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", predicted=[CELL, CELL])
    put(2, "a.png", corrected=[CELL])
    told = ("under another name, the same in all exports: a.png (a-2.png)",)
    assert export_csv(services, project, tmp_path / "b.csv", one_based=True).notes == told
    lines = (tmp_path / "b.csv").read_text().splitlines()
    assert lines[1:] == ["a-2.png,64,48,Cell,5,6,20,25"]
    assert export_counts(services, project, tmp_path / "counts.csv").notes == told
    with (tmp_path / "counts.csv").open(newline="") as file:
        counts = [(r["image"], r["count"]) for r in csv.DictReader(file) if r["class"] == "Cell"]
    assert counts == [("a.png", "2"), ("a-2.png", "1")]
    export_voc(services, project, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "annotations").iterdir()] == ["a-2.xml"]


@pytest.mark.parametrize("content", [b"", b"II*\0\x08\0\0\0"])
def test_boxes_of_an_image_whose_file_was_damaged_since_are_exported_all_the_same(
    services: Services, project: int, put: Put, tmp_path: Path, content: bytes
) -> None:
    services.images.path(put(1, "a.png", corrected=[CELL])).write_bytes(content)
    assert export_csv(services, project, tmp_path / "b.csv").boxes == 1


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
