from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backend.cli.effort import effort_text
from backend.datasets.known import known_images
from backend.effort.believing import corrected_images
from backend.effort.measuring import measure
from backend.effort.report import effort_of
from backend.effort.watch import Shown, show, watched_as
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_boxes
from backend.learning.snapshots import build_snapshot
from backend.services import Services
from backend.serving.predictor import Predictor
from backend.serving.slot import Slot
from backend.store.predictions import StoredPrediction
from model.boxes import Box, iou_matrix
from model.generated.fields import EASY, generate_field
from preprocessing.images import encode_png
from tests.backend.conftest import LABEL_CONFIG
from tests.backend.effort.conftest import cell

INTERFACE = LabellingInterface.parse(LABEL_CONFIG)
SIZE = (200, 100)
#: The first three of these are almost certainly cells.
CELLS = [Box(x, 10, x + 20, 30, "Cell", 0.97 - x / 1000) for x in range(0, 160, 30)]
POSSIBLE = np.array([b.xyxy_px for b in CELLS] + [(100, 60, 130, 90)], np.float32)


def shown(kind: Any, task: int = 1, cells: list[Box] = CELLS) -> Shown:
    return show(cells, POSSIBLE, SIZE, INTERFACE, kind, (1, task))


def test_the_share_of_the_tasks_is_watched_and_the_same_ones_each_time() -> None:
    kinds = Counter(watched_as(1, task, 0.1) for task in range(4000))
    assert 0.04 < kinds["blank"] / 4000 < 0.06
    assert 0.04 < kinds["fault"] / 4000 < 0.06
    assert kinds == Counter(watched_as(1, task, 0.1) for task in range(4000))
    assert {watched_as(1, task, 0.0) for task in range(4000)} == {None}


def test_unwatched_images_and_those_of_few_boxes_are_shown_as_found() -> None:
    assert len(shown(None).regions) == len(CELLS)
    few = shown("fault", cells=CELLS[:2])
    assert (len(few.regions), few.watch) == (2, None)


@pytest.mark.parametrize("kind", ["blank", "fault"])
def test_an_image_without_a_box_that_is_surely_a_cell_is_shown_as_found(kind: Any) -> None:
    unsure = [replace(box, score=0.85) for box in CELLS]
    as_found = shown(kind, cells=unsure)
    assert (len(as_found.regions), as_found.watch) == (len(CELLS), None)


def test_a_blank_image_shows_nothing_and_the_store_keeps_what_was_found() -> None:
    blank = shown("blank")
    assert blank.regions == []
    assert blank.watch is not None
    assert (len(blank.watch.withheld), blank.watch.telling) == (6, 3)


@pytest.mark.parametrize("task", range(12))
def test_a_fault_is_a_sure_box_less_and_one_more_where_nothing_is(task: int) -> None:
    fault = shown("fault", task)
    assert fault == shown("fault", task)
    assert fault.watch is not None
    (gone,), (false,) = fault.watch.withheld, fault.watch.planted
    assert gone["score"] > CELLS[3].score
    ids = {region["id"] for region in fault.regions}
    assert gone["id"] not in ids
    assert false["id"] in ids
    assert len(ids) == len(CELLS)
    (box,), _ = to_boxes([false], *SIZE)
    assert not iou_matrix(np.array([box.xyxy_px], np.float32), POSSIBLE).any()
    # Nothing sent to Label Studio tells it from the others.
    assert false.keys() == fault.regions[0].keys()
    assert [r["score"] for r in fault.regions] == sorted(
        (r["score"] for r in fault.regions), reverse=True
    )


def test_where_there_is_no_room_for_a_false_box_one_is_only_taken_away() -> None:
    everywhere = np.array([(0, 0, *SIZE)], np.float32)
    crowded = show(CELLS, everywhere, SIZE, INTERFACE, "fault", (1, 1))
    assert crowded.watch is not None
    assert crowded.watch.planted == ()
    assert len(crowded.regions) == len(CELLS) - 1


@pytest.fixture
def watched(services: Services, project: int, serve: Any) -> Any:
    """Return a function that serves a watched task and returns what was shown and is known."""

    def put(task: int, kind: str, cells: list[Box] = CELLS) -> Shown:
        serve(task, served="trained-0+t0.5")
        what = shown(kind, task, cells)
        sha256 = services.images.of_task(project, task).sha256  # type: ignore[union-attr]
        services.predictions.put(
            StoredPrediction(
                project,
                task,
                sha256,
                0,
                "trained-1+t0.5",
                what.regions,
                score=0.5,
                contrast_group="low",
                watch=what.watch,
            )
        )
        return what

    return put


def learned(services: Services, project: int) -> tuple[dict[str, int], list[str]]:
    notes: list[str] = []
    snapshot = build_snapshot(services, project, notes.append)
    return {image.name: len(image.boxes) for image in snapshot.images}, notes


def touched(what: Shown, x: float = 0.0, label: str = "", id: str = "") -> list[dict[str, Any]]:
    """Return the regions as shown, the planted one moved to the right or changed."""
    assert what.watch is not None
    (planted,) = what.watch.planted
    value = planted["value"]
    room = 100 - value["x"] - value["width"]
    value = {**value, "x": value["x"] + (x if x < room else -x)}
    value |= {"rectanglelabels": [label]} if label else {}
    changed = {**planted, "id": id or planted["id"], "value": value}
    return [changed if r["id"] == planted["id"] else r for r in what.regions]


def test_faults_that_were_let_stand_are_neither_learned_from_nor_exported(
    services: Services, project: int, watched: Any, submit: Any
) -> None:
    for task in (1, 2, 3):
        submit(task, watched(task, "fault").regions)
    images, notes = learned(services, project)
    assert images == {f"image{task}.png": len(CELLS) for task in (1, 2, 3)}
    assert sum("was let stand and is left out" in note for note in notes) == 3
    assert sum("is put back" in note for note in notes) == 3

    known, told = known_images(services, project)
    true = {box.xyxy_px for box in CELLS}
    assert [{box.xyxy_px for box in k.counted.boxes} for k in known] == [true] * 3
    assert sum("is left out" in note for note in told) == 3


def test_what_an_annotator_did_about_a_fault_is_believed(
    services: Services, project: int, watched: Any, submit: Any, write: Any
) -> None:
    what = watched(1, "fault")
    false = what.watch.planted[0]["id"]
    (gone,), _ = to_boxes(what.watch.withheld, *SIZE)
    right = [region for region in what.regions if region["id"] != false]
    submit(1, [*right, *write(replace(gone, xmin=gone.xmin + 2, score=None))])
    submit(2, touched(watched(2, "fault"), x=20))  # percent: off to another place
    known, told = known_images(services, project)
    assert [len(k.counted.boxes) for k in known] == [len(CELLS), len(CELLS) + 1]
    assert ["put back" in note for note in told] == [True]


def test_what_was_drawn_on_another_image_of_the_task_makes_no_fault_good_nor_lets_it_stand(
    services: Services, project: int, watched: Any, submit: Any
) -> None:
    beside = LABEL_CONFIG.replace("</View>", '<Image name="beside" value="$beside"/></View>')
    services.projects.ensure(project, "", beside)
    what = watched(1, "fault")
    (gone,), (false,) = what.watch.withheld, what.watch.planted
    right = [region for region in what.regions if region["id"] != false["id"]]
    elsewhere = [
        {**region, "id": f"beside-{k}", "to_name": "beside"}
        for k, region in enumerate([gone, false])
    ]
    submit(1, [*right, *elsewhere])
    (correction,) = measure(services, project)
    assert (correction.drawn, correction.accepted) == (0, 0)
    notes: list[str] = []
    ((_, believed),) = corrected_images(services, project, notes.append)
    assert [region["id"] for region in believed.result if region not in elsewhere] == [
        *(region["id"] for region in right),
        gone["id"],
    ]
    assert [region for region in believed.result if region in elsewhere] == elsewhere


def test_a_fault_is_known_though_its_task_is_answered_again_without_one(
    services: Services, project: int, watched: Any, serve: Any, submit: Any
) -> None:
    what = watched(1, "fault")
    submit(1, what.regions)
    before = services.predictions.last_shown(project, 1)
    assert before is not None
    serve(1, *CELLS, served=before.served)  # by now CYTOLOOP_WATCH_SHARE is 0
    assert services.predictions.last_shown(project, 1) == before
    notes: list[str] = []
    ((_, believed),) = corrected_images(services, project, notes.append)
    assert len(believed.result) == len(CELLS)
    assert any("was let stand and is left out" in note for note in notes)


def test_a_correction_of_boxes_shown_as_found_is_believed_though_its_task_was_watched_before(
    services: Services, project: int, watched: Any, serve: Any, submit: Any
) -> None:
    watched(1, "fault")
    submitted = submit(1, serve(1, cell(10), served="trained-2+t0.5"))
    notes: list[str] = []
    ((_, believed),) = corrected_images(services, project, notes.append)
    assert (believed, notes) == (submitted, [])


@pytest.mark.parametrize("edges", [(-8, -2, -8, -2), (-12, -6, 12, 6), (7, 5, -7, -3)])
def test_a_box_that_was_drawn_again_loosely_is_not_put_back_beside_it(
    services: Services, project: int, watched: Any, submit: Any, write: Any, edges: Any
) -> None:
    what = watched(3, "fault")
    (gone,), _ = to_boxes(what.watch.withheld, *SIZE)
    loose = Box(*np.add(gone.xyxy_px, edges).tolist(), label="Cell")
    overlap = iou_matrix(*(np.array([box.xyxy_px], np.float32) for box in (gone, loose)))
    assert overlap.item() < 0.5
    submit(3, [*what.regions, *write(loose)])
    (known,), told = known_images(services, project)
    assert len(known.counted.boxes) == len(CELLS)
    assert gone.xyxy_px not in {box.xyxy_px for box in known.counted.boxes}
    assert "put back" not in " ".join(told)


def test_a_box_moved_loosely_onto_the_cell_is_not_doubled_either(
    services: Services, project: int, watched: Any, submit: Any
) -> None:
    what = watched(3, "fault")
    (gone,), (false,) = what.watch.withheld, what.watch.planted
    value = {**gone["value"], "x": gone["value"]["x"] + gone["value"]["width"] * 0.4}
    moved = {**false, "value": value, "origin": "prediction-changed"}
    submit(3, [moved if r["id"] == false["id"] else r for r in what.regions])
    (known,), told = known_images(services, project)
    assert (len(known.counted.boxes), told) == (len(CELLS), [])


def test_a_neighbour_that_was_shown_or_a_box_drawn_beside_or_around_the_cell_does_not_stand_for_it(
    services: Services, project: int, watched: Any, submit: Any, write: Any
) -> None:
    close = [CELLS[0], replace(CELLS[0], xmin=9, xmax=29, score=0.5), *CELLS[1:]]
    beside, around = Box(11, 10, 31, 30, "Cell"), Box(0, 0, 150, 60, "Cell")
    for task, cells, drawn in ((1, close, ()), (2, CELLS, (beside,)), (3, CELLS, (around,))):
        only = [replace(box, score=0.8) if n else box for n, box in enumerate(cells)]
        what = watched(task, "fault", only)
        submit(task, [*what.regions, *write(*drawn)])
    known, told = known_images(services, project)
    assert ["put back" in note for note in told].count(True) == 3
    assert all(CELLS[0].xyxy_px in {b.xyxy_px for b in k.counted.boxes} for k in known)


@pytest.mark.parametrize("change", [{"x": 0.5}, {"x": 2}, {"label": "Dead"}])
def test_a_planted_box_that_was_nudged_or_relabelled_was_taken_for_a_cell(
    services: Services, project: int, watched: Any, submit: Any, change: Any
) -> None:
    submit(1, touched(watched(1, "fault"), **change))
    (known,), _ = known_images(services, project)
    assert {box.xyxy_px for box in known.counted.boxes} == {box.xyxy_px for box in CELLS}
    assert effort_of(services, project).watched["ada"].rejected == (0, 1)


def test_a_box_that_was_drawn_where_a_planted_one_was_deleted_is_believed(
    services: Services, project: int, watched: Any, submit: Any
) -> None:
    drawn = [
        {**region, "id": "drawn", "origin": "manual"} if region["id"] == "planted" else region
        for region in touched(watched(1, "fault"), x=1, id="planted")
    ]
    submit(1, drawn)
    (known,), _ = known_images(services, project)
    assert len(known.counted.boxes) == len(CELLS) + 1


def test_counts_of_an_uncorrected_watched_image_are_those_that_were_found(
    services: Services, project: int, watched: Any
) -> None:
    for task, kind in ((1, "blank"), (2, "fault")):
        watched(task, kind)
    known, _ = known_images(services, project)
    assert [len(k.counted.boxes) for k in known] == [len(CELLS)] * 2


def test_each_annotators_eye_is_measured_with_help_and_without(
    services: Services, project: int, watched: Any, submit: Any, write: Any
) -> None:
    watched(1, "blank")
    submit(1, write(*CELLS[:2]))  # of the three surest two
    submit(2, watched(2, "fault").regions)
    submit(3, watched(3, "fault").regions[:0], annotator="ben")
    report = effort_of(services, project)
    ada, ben = report.watched["ada"], report.watched["ben"]
    assert (ada.drawn("blank"), ada.drawn("fault"), ada.rejected) == ((2, 3), (0, 1), (0, 1))
    assert (ben.drawn("blank"), ben.drawn("fault"), ben.rejected) == ((0, 0), (0, 1), (1, 1))
    assert report.work.total.images == 0  # in no other figure
    assert len(measure(services, project)) == 3
    told = effort_text(report)
    assert "2 of 3  " in told
    assert "Watched: 3 images" in told
    found = report.to_json()["watched"]["ada"]
    assert found["recall_without_help"] is None  # three boxes are no share
    assert found["recall_without_help_interval"] == [0.2077, 0.9385]
    assert found["recall_without_help_counts"] == [2, 3]


def test_what_a_reviewer_repaired_is_not_what_the_annotator_found(
    services: Services, project: int, watched: Any, serve: Any, submit: Any, write: Any
) -> None:
    faults = {task: watched(task, "fault") for task in (1, 2)}
    for task, what in faults.items():
        submit(task, what.regions, annotator="novice", updated_by="novice")
    before = effort_of(services, project)
    assert before.watched["novice"].rejected == (0, 2)
    submit(2, write(*CELLS), minute=5, annotator="novice", updated_by="chief")
    submit(3, serve(3, *CELLS)[1:], annotator="novice", updated_by="chief")
    after = effort_of(services, project)
    assert list(after.watched) == ["novice"]
    assert (after.watched["novice"].drawn("fault"), after.watched["novice"].rejected) == (
        (0, 1),
        (0, 1),
    )
    assert (after.by_annotator, after.work.total.images) == ({}, 1)
    assert (before.reviewed, after.reviewed, after.to_json()["reviewed"]) == (0, 2, 2)
    told = "reviewed   2 annotations that somebody else changed last: in no annotator's figures"
    assert told in effort_text(after)


def test_a_blank_image_is_known_for_one_where_the_annotation_names_no_prediction(
    services: Services, project: int, watched: Any, submit: Any, write: Any
) -> None:
    watched(1, "blank")
    submit(1, write(*CELLS), parent_prediction=None)
    watched(2, "blank")
    submit(2, write(*CELLS), parent_prediction=None, lead_time=None)  # an import
    drawn, imported = measure(services, project)
    assert (drawn.watched, drawn.hidden, drawn.drawn) == ("blank", 3, 3)
    assert (imported.watched, imported.start) == ("", "import")


def test_a_blank_image_that_was_accepted_without_being_opened_is_no_image_without_cells(
    services: Services, project: int, watched: Any, submit: Any
) -> None:
    for task in (1, 2):
        watched(task, "blank")
    submit(1, [], lead_time=None)
    submit(2, [])  # looked at, and left empty
    notes: list[str] = []
    assert [a.task for _, a in corrected_images(services, project, notes.append)] == [2]
    assert notes == ["image1.png left out: it was accepted without being opened, and held no boxes"]
    unseen, seen = measure(services, project)
    assert (unseen.watched, seen.watched, seen.drawn) == ("", "blank", 0)


def test_a_watched_task_is_shown_by_the_path_that_answers_label_studio(
    services: Services, project: int
) -> None:
    settings = services.settings.model_copy(update={"watch_share": 1.0})
    services = replace(services, settings=settings)
    pixels = generate_field(1, (128, 128), 6, EASY).pixels
    sha256 = services.images.keep(encode_png(pixels))
    services.images.add(project, sha256, 0, "field.png", 128, 128)
    tasks = {kind: next(t for t in range(99) if watched_as(1, t, 1.0) == kind) for kind in KINDS}
    for task in tasks.values():
        services.images.attach_task(project, sha256, 0, task)
    slot = Slot(services.registry, "cpu")
    predictor = Predictor(services, slot)
    answers = predictor.predict(project, [{"id": task} for task in tasks.values()], LABEL_CONFIG)
    slot.close()
    kept = {kind: services.predictions.last_shown(project, task) for kind, task in tasks.items()}
    for answer, (kind, prediction) in zip(answers, kept.items(), strict=True):
        assert prediction is not None
        assert prediction.watch is not None
        assert prediction.watch.kind == kind
        assert list(prediction.regions) == answer["result"]  # type: ignore[call-overload]
        assert "watch" not in str(answer)
    assert answers[0]["result"] == []  # type: ignore[call-overload]
    assert len(kept["blank"].found) == len(kept["fault"].found)  # type: ignore[union-attr]


KINDS = ("blank", "fault")


def test_a_fault_that_was_let_stand_is_undone_though_the_tasks_file_came_back_with_other_bytes(
    services: Services, project: int, watched: Any, submit: Any
) -> None:
    what = watched(1, "fault")
    sha256 = services.images.keep(encode_png(np.full((100, 200), 99, np.uint16)))
    services.images.add(project, sha256, 0, "raw.tif", 200, 100)
    services.images.attach_task(project, sha256, 0, 1)
    submit(1, what.regions)
    notes = list[str]()
    list(corrected_images(services, project, notes.append))
    assert any("was let stand and is left out" in note for note in notes)


@pytest.mark.parametrize(
    ("is_shown", "served"), [(True, "trained-1+t0.5"), (False, "")], ids=["shown", "not shown"]
)
def test_a_fault_of_the_image_that_had_a_tasks_number_before_is_not_undone_in_another(
    services: Services, project: int, watched: Any, submit: Any, is_shown: bool, served: str
) -> None:
    watched(1, "fault")
    sha256 = services.images.keep(encode_png(np.full((100, 200), 99, np.uint8)))
    services.images.add(project, sha256, 0, "another.png", 200, 100)
    services.images.attach_task(project, sha256, 0, 1)
    if is_shown:
        services.predictions.put(StoredPrediction(project, 1, sha256, 0, served, [], score=0.5))
    annotation, notes = submit(1, []), list[str]()
    ((_, believed),) = corrected_images(services, project, notes.append)
    assert (believed, notes) == (annotation, [])
    (found,) = measure(services, project)
    assert (found.served, found.watched, found.actions.number) == (served, "", 0)
