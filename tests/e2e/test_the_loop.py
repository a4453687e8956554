"""The loop as a person lives it: open, correct, submit, and be served by what was learned."""

from __future__ import annotations

import csv
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tifffile

from backend.datasets.voc import read_voc
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from model.boxes import Box, iou_matrix
from model.generated.fields import HARD, generate_field
from model.keeping.starter import STARTER_ID
from tests.e2e.margin import with_margin

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

SIZE = 192
CELLS = 14
FIELDS = 8
CORRECTED = 5
ITERATIONS = 60
TRAINS_WITHIN_S = 1200
NEW_BOX = (16, 12)  # pixels, width and height
RIM = 12  # pixels


@dataclass
class Lab:
    """A folder of hard fields, the loop that runs on it, and what is known to be true of them."""

    loop: Any
    truth: dict[str, tuple[Box, ...]]
    project: int = 1

    def tasks(self) -> list[dict[str, Any]]:
        return sorted(self.loop.label_studio.tasks(self.project), key=lambda task: task["id"])

    def prediction_of(self, task: int) -> dict[str, Any]:
        """Return the newest prediction of a task."""
        return max(self.loop.label_studio.task(task)["predictions"], key=lambda p: p["id"])

    def submit_truth(self, task: dict[str, Any]) -> None:
        studio = self.loop.label_studio
        interface = LabellingInterface.parse(studio.project(self.project)["label_config"])
        boxes = self.truth[task["data"]["name"]]
        studio.create_annotation(task["id"], to_regions(boxes, SIZE, SIZE, interface))

    def status(self) -> dict[str, Any]:
        (project,) = self.loop.status()["projects"]
        return project


@pytest.fixture
def lab(make_loop: Callable[..., Any], tmp_path: Path) -> Lab:
    folder = tmp_path / "slides"
    folder.mkdir()
    truth = {}
    for n in range(FIELDS):
        field, name = generate_field(100 + n, (SIZE, SIZE), CELLS, HARD), f"slide-{n}.tif"
        tifffile.imwrite(folder / name, field.pixels)
        truth[name] = tuple(with_margin(box, SIZE) for box in field.boxes)
    settings = {"CYTOLOOP_MILESTONES": str(CORRECTED), "CYTOLOOP_ITERATIONS": str(ITERATIONS)}
    loop = make_loop(**settings)
    loop.up("--images", str(folder))
    return Lab(loop, truth)


def test_corrections_in_the_browser_teach_the_detector_that_opens_the_next_task(
    lab, make_editor, wait, artifacts
):
    first, *others = lab.tasks()
    editor = make_editor(lab.loop)
    editor.log_in()

    # The first task opens with the starter's boxes, on the screen as they were served.
    editor.open(lab.project, first["id"])
    served = lab.prediction_of(first["id"])
    assert served["model_version"].startswith(STARTER_ID)
    editor.wait_for_boxes(len(served["result"]))
    editor.page.screenshot(path=artifacts / "first-task.png")

    # Delete one, draw one, submit.
    before = shown_boxes(served["result"])
    doomed = served["result"][lone_box(before)]
    editor.delete(doomed)
    editor.wait_for_boxes(len(before) - 1)
    drawn = free_place(before)
    editor.draw(*(100 * edge / SIZE for edge in drawn))
    editor.wait_for_boxes(len(before))
    editor.page.screenshot(path=artifacts / "corrected.png")
    editor.submit()
    wait(lambda: lab.status()["corrected"] == 1, 30)
    annotated = lab.loop.label_studio.task(first["id"])["annotations"][0]["result"]
    untouched = {region["id"] for region in served["result"]} - {doomed["id"]}
    assert {region["id"] for region in annotated} > untouched
    assert doomed["id"] not in {region["id"] for region in annotated}

    # What is exported is what was drawn and kept, to half a pixel an edge.
    exported = exported_boxes(lab, first["data"]["name"])
    expected = np.vstack([np.delete(before, lone_box(before), axis=0), drawn])
    assert len(exported) == len(expected)
    assert farthest_edge(expected, exported) <= 0.5

    # Enough corrections: a run trains in the worker and is promoted; nothing is restarted.
    for task in others[: CORRECTED - 1]:
        lab.submit_truth(task)
    run = wait(lambda: finished_run(lab), TRAINS_WITHIN_S)
    assert run["state"] == "promoted", run
    assert run["milestone"] == CORRECTED
    assert lab.status()["champion"] == run["candidate"]

    # Without being asked, the open tasks get its boxes; when all have, Label Studio names it.
    wait(lambda: pushed(lab, others[-1]["id"], run["candidate"]), 120)
    wait(lambda: named(lab, run["candidate"]), 120)

    # The next task opens with the boxes of the promoted version, and they are on cells.
    editor.open(lab.project, others[-1]["id"])
    learned = lab.prediction_of(others[-1]["id"])
    assert learned["model_version"].startswith(run["candidate"])
    editor.wait_for_boxes(len(learned["result"]))
    editor.page.screenshot(path=artifacts / "after-learning.png")
    truth = lab.truth[others[-1]["data"]["name"]]
    assert recall(shown_boxes(learned["result"]), truth) >= 0.7

    # The table counts what was drawn.
    rows = {row["image"]: row for row in exported_counts(lab)}
    assert int(rows[first["data"]["name"]]["count"]) == len(annotated)
    assert rows[first["data"]["name"]]["source"] == "corrected"
    assert rows[others[-1]["data"]["name"]]["source"] == "predicted"
    threshold = json.loads(lab.loop.run("models", "show", run["candidate"], "--json"))["threshold"]
    counted = [region for region in learned["result"] if region["score"] >= threshold]
    assert int(rows[others[-1]["data"]["name"]]["count"]) == len(counted)


def finished_run(lab: Lab) -> dict[str, Any] | None:
    runs = lab.status()["runs"]
    return next((r for r in runs if r["state"] not in ("queued", "running")), None)


def pushed(lab: Lab, task: int, version: str) -> bool:
    return lab.prediction_of(task)["model_version"].startswith(version)


def named(lab: Lab, version: str) -> bool:
    return lab.loop.label_studio.project(lab.project)["model_version"].startswith(version)


def shown_boxes(regions: list[dict[str, Any]]) -> np.ndarray:
    """Return the boxes of Label Studio's regions in pixels, shape (N, 4), by plain arithmetic."""
    values = [region["value"] for region in regions]
    percent = [[v["x"], v["y"], v["x"] + v["width"], v["y"] + v["height"]] for v in values]
    return np.array(percent) * SIZE / 100


def farthest_edge(expected: np.ndarray, found: np.ndarray) -> float:
    """Return the most that an edge of an expected box is off from its nearest box, in pixels."""
    off = np.abs(expected[:, None] - found[None]).max(axis=2)
    return float(off.min(axis=1).max())


def lone_box(boxes: np.ndarray) -> int:
    """Return the index of a box whose middle lies in no other: a click there can mean only it."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = (middles[:, None] > boxes[None, :, :2]) & (middles[:, None] < boxes[None, :, 2:])
    alone = inside.all(axis=2).sum(axis=1) == 1
    # Label Studio may show an image so enlarged that its rim is outside the window.
    in_view = ((middles > RIM) & (middles < SIZE - RIM)).all(axis=1)
    return int((alone & in_view).argmax())


def free_place(boxes: np.ndarray) -> np.ndarray:
    """Return edges in whole pixels where a box can be drawn without touching another."""
    width, height = NEW_BOX
    places = itertools.product(
        range(RIM, SIZE - height - RIM, 4), range(RIM, SIZE - width - RIM, 4)
    )
    for y, x in places:
        place = np.array([x, y, x + width, y + height], float)
        apart = (boxes[:, :2] > place[2:] + 2) | (boxes[:, 2:] < place[:2] - 2)
        if apart.any(axis=1).all():
            return place
    raise AssertionError("the field is full of boxes")


def recall(found: np.ndarray, truth: Sequence[Box]) -> float:
    boxes = np.array([box.xyxy_px for box in truth], np.float32)
    if not len(found):
        return 0.0
    return float((iou_matrix(boxes, found.astype(np.float32)).max(axis=1) >= 0.5).mean())


def exported_boxes(lab: Lab, image: str) -> np.ndarray:
    """Return the boxes of one image as ``cytoloop export voc`` writes them."""
    out = lab.loop.home.parent / "voc"
    lab.loop.run("export", "voc", "--out", str(out))
    (xml,) = out.rglob(f"{Path(image).stem}.xml")
    return np.array([box.xyxy_px for box in read_voc(xml).boxes])


def exported_counts(lab: Lab) -> list[dict[str, str]]:
    """Return the table that is served by HTTP; it must be the one that the command writes."""
    out = lab.loop.home.parent / "counts.csv"
    lab.loop.run("export", "counts", "--out", str(out))
    address = f"http://127.0.0.1:{lab.loop.port}/projects/{lab.project}/export"
    login = ("cytoloop", lab.loop.credentials.backend_password)
    served = requests.get(f"{address}/counts", auth=login, timeout=30)
    assert table(served.text) == table(out.read_text("utf-8"))
    voc = requests.get(f"{address}/voc", auth=login, timeout=30)
    assert (
        sum(n.endswith(".xml") for n in zipfile.ZipFile(io.BytesIO(voc.content)).namelist())
        == CORRECTED
    )
    return table(out.read_text("utf-8"))


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))
