from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import Result

from backend.datasets.voc import read_voc, write_voc
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.services import build_services
from backend.settings import PACKAGE_ROOT, Settings
from backend.store.annotations import Annotation
from model.boxes import Box

Run = Callable[..., Result]
CELL = Box(1, 2, 30, 40, "Nucleus")


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
    assert found["notes"] == ["field3.png left out: it is the same file as field2.png"]
    assert (found["images"], found["alike"]) == (4, [])


def test_labels_in_order_end_well(run: Run, cells: Path) -> None:
    words = ("--images", cells / "images", "--annotations", cells / "annotations")
    result = run("labels", "check", *words)
    assert result.exit_code == 0, result.output
    assert result.stdout == "5 labelled images, 30 boxes: none looks wrong\n"


def test_voc_files_without_their_images_are_refused(run: Run, cells: Path) -> None:
    result = run("labels", "check", "--annotations", cells / "annotations")
    assert result.exit_code == 2
    assert "--images DIR" in result.stderr
