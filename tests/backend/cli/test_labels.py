from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from backend.datasets.voc import read_voc, write_voc
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.services import build_services
from backend.settings import PACKAGE_ROOT, Settings
from model.boxes import Box
from tests.labelled import with_broken

Run = Callable[..., Result]
CELL = Box(1, 2, 30, 40, "Nucleus")
OTHERS = Box(40, 2, 70, 40, "Nucleus"), Box(80, 2, 110, 40, "Nucleus")


@pytest.fixture
def labelled(home: Path, cells: Path) -> None:
    """A project with one image in two tasks, corrected with a box too many."""
    services = build_services(Settings(home=home))
    config = (PACKAGE_ROOT / "label_config.xml").read_text("utf-8")
    services.projects.ensure(1, "proj1", config)
    sha256 = services.images.keep((cells / "images" / "field0.png").read_bytes())
    services.images.add(1, sha256, 0, "field0.png", 160, 128)
    for task in (5, 7):
        services.images.attach_task(1, sha256, 0, task)
    regions = to_regions([CELL, CELL], 160, 128, LabellingInterface.parse(config))
    now = datetime.now(UTC)
    services.annotations.record(Annotation(9, 1, 5, tuple(regions), now, now))
    services.engine.dispose()


@pytest.mark.usefixtures("labelled")
def test_a_projects_odd_boxes_and_doubled_images_are_listed(run: Run) -> None:
    result = run("labels", "check")
    assert result.exit_code == 1, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("field0.png: box of Nucleus at (1, 2, 30, 40) looks wrong: it lies")
    assert lines[1] == "field0.png is shown by tasks 5, 7: the newest correction counts"
    assert lines[-1] == "1 labelled image, 2 boxes: 1 box looks wrong (1 doubled)"
    assert "write a note to it" in result.stderr


def test_a_folders_odd_boxes_and_images_alike_are_listed(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(cells / "images", folder)
    shutil.copytree(cells / "annotations", folder, dirs_exist_ok=True)
    boxes = read_voc(folder / "field1.xml").boxes
    write_voc(folder / "field1.xml", "field1.png", 160, 128, 1, [*boxes, boxes[0]])
    shutil.copy(folder / "field2.png", folder / "field3.png")
    result = run("labels", "check", "--images", folder, "--json")
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    assert [(one["image"], one["reason"]) for one in found["aside"]] == [("field1.png", "double")]
    (note,) = found["notes"]
    assert note.startswith("field3.png left out: it is the same file as field2.png, which has")
    assert (found["images"], found["alike"]) == (4, [])


def test_an_odd_box_has_one_line_whatever_its_image_is_called(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    shutil.copy(cells / "images" / "field1.png", tmp_path / "a\x1b[2J\nb.png")
    boxes = read_voc(cells / "annotations" / "field1.xml").boxes
    write_voc(tmp_path / "a\x1b[2J\nb.xml", "field1.png", 160, 128, 1, [*boxes, boxes[0]])
    odd, *_ = run("labels", "check", "--images", tmp_path).stdout.splitlines()
    assert odd.startswith(r"a\x1b[2J\nb.png: box of ")


def test_the_json_of_a_folder_names_all_images_that_were_left_out(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    names = with_broken(cells, tmp_path / "in", 25)
    result = run("labels", "check", "--images", tmp_path / "in", "--json")
    assert result.exit_code == 0, result.output
    (note,) = json.loads(result.stdout)["notes"]
    assert note.startswith(f"{', '.join(names)} left out: ")


def test_boxes_that_cannot_be_used_are_no_good_end(run: Run, cells: Path, tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text(
        "filename,class,xmin,ymin,xmax,ymax\n"
        "field0.png,Nucleus,1,2,30,40\n"
        "field0.png,Nucleus,50,60,50,60\n"
        "field1.png,Nucleus,500,500,540,540\n"
        "field1.png,Nucleus\n"
    )
    result = run("labels", "check", "--images", cells / "images", "--annotations", table)
    assert result.exit_code == 1, result.output
    last = result.stdout.splitlines()[-1]
    assert last == "1 labelled image, 1 box: none looks wrong, 3 more cannot be used"
    assert "line 3 (Nucleus) (50, 60, 50, 60) left out" in result.stdout


@pytest.mark.parametrize("boxes", [[], [CELL]])
def test_annotations_of_images_that_were_resized_since_are_no_good_end(
    run: Run, cells: Path, tmp_path: Path, boxes: list[Box]
) -> None:
    write_voc(tmp_path / "field0.xml", "field0.png", 160, 128, 1, [CELL])
    write_voc(tmp_path / "field1.xml", "field1.png", 320, 256, 1, boxes)
    result = run("labels", "check", "--images", cells / "images", "--annotations", tmp_path)
    assert result.exit_code == 1, result.output
    why = "its annotation says 320×256 px, but the image has 160×128"
    assert f"field1.png left out: {why}" in result.stdout
    last = result.stdout.splitlines()[-1]
    assert last == "1 labelled image, 1 box: none looks wrong, 1 more cannot be used"


@pytest.mark.usefixtures("labelled")
def test_a_projects_boxes_that_cannot_be_used_are_no_good_end(home: Path, run: Run) -> None:
    services = build_services(Settings(home=home))
    interface = LabellingInterface.parse(services.projects.get(1).label_config)
    right, outside, unknown = to_regions([CELL, *OTHERS], 160, 128, interface)
    outside["value"]["x"] = 200
    unknown["value"]["rectanglelabels"] = ["Dust"]
    rating = {"id": "r", "type": "rating", "value": {"rating": 4}}
    now = datetime.now(UTC)
    services.annotations.record(Annotation(9, 1, 5, (right, rating), now, now))
    assert run("labels", "check").exit_code == 0
    later = now + timedelta(seconds=1)
    regions = (right, rating, outside, unknown)
    services.annotations.record(Annotation(9, 1, 5, regions, now, later))
    services.engine.dispose()
    result = run("labels", "check", "--json")
    assert result.exit_code == 1, result.output
    told = json.loads(result.stdout)
    assert told["unusable"] == 2
    for note, why in zip(
        told["notes"], ("lies outside the image", "of 'Dust' left out"), strict=True
    ):
        assert note.startswith("field0.png: ")
        assert why in note


@pytest.mark.parametrize("one_based", [True, False])
def test_odd_boxes_of_a_folder_are_told_with_the_numbers_of_its_files(
    run: Run, cells: Path, tmp_path: Path, one_based: bool
) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text("field0.png,11,12,40,50,Nucleus\nfield0.png,11,12,40,50,Nucleus\n")
    words = ("--images", cells / "images", "--annotations", table)
    counting = ("--one-based",) if one_based else ()
    listed = run("labels", "check", *words, *counting).stdout
    assert "field0.png: box of Nucleus at (11, 12, 40, 50) looks wrong: it lies on" in listed
    (aside,) = json.loads(run("labels", "check", *words, *counting, "--json").stdout)["aside"]
    assert aside["xyxy_px"] == [11, 12, 40, 50]


def test_labels_in_order_end_well(run: Run, cells: Path) -> None:
    words = ("--images", cells / "images", "--annotations", cells / "annotations")
    result = run("labels", "check", *words)
    assert result.exit_code == 0, result.output
    assert result.stdout == "5 labelled images, 30 boxes: none looks wrong\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--annotations", "voc"), "--annotations needs the folder of its images: --images DIR"),
        (("--map", "N=Nucleus"), "--map needs the folder"),
        (("--one-based",), "--one-based needs the folder"),
        (("--images", ".", "--project", "1"), "--project looks at a project instead of a folder"),
    ],
)
def test_an_option_that_would_be_of_no_effect_is_refused(
    run: Run, words: tuple[str, ...], told: str
) -> None:
    result = run("labels", "check", *words)
    assert result.exit_code == 2
    assert told in result.stderr
