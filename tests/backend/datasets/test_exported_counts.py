from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from backend.datasets.export import export_counts, export_voc
from backend.datasets.known import known_images
from backend.effort.believing import AT_ONCE
from backend.effort.watch import show_blank
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.services import Services
from backend.store.predictions import StoredPrediction
from model.boxes import Box
from model.classical.detector import CLASSICAL_ID
from model.keeping.champions import Champions
from model.keeping.starter import STARTER_ID
from model.versions import GateDecision, JudgedImage
from preprocessing.images import encode_png
from tests.backend.conftest import show_images
from tests.backend.datasets.conftest import CELL, NOW
from tests.backend.judged import judged_in, report_of

Put = Callable[..., str]


def test_counts_name_the_source_the_version_and_the_annotator(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[CELL], predicted=[CELL, CELL])
    put(2, "b.png", predicted=[CELL, CELL, Box(1, 1, 9, 9, "Debris")])
    put(3, "c.png", corrected=[])
    put(4, "d.png")
    services.annotators.call({"1": "anna@lab"})
    done = export_counts(services, project, tmp_path / "counts.csv")
    assert (done.images, done.boxes, done.uncounted) == (4, 4, 1)
    (told,) = done.notes
    assert told.startswith("nothing known yet, since nobody opened it")
    assert "d.png; `cytoloop predict`" in told
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
    services.predictions.put(StoredPrediction(project, 1, sha256, 0, "v2+0.5", later, flags=flags))
    export_counts(services, project, tmp_path / "counts.csv")
    assert ",Cell,corrected,1,,,0.325521,v1+0.5,1,\n" in (tmp_path / "counts.csv").read_text()


def test_what_an_import_brought_in_is_flagged_and_nobodys_until_somebody_updates_it(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    put(1, "a.png")
    whole = tuple(to_regions([CELL], 64, 48, interface))
    brought = Annotation(9, project, 1, whole, NOW, NOW, annotator="1", updated_by="1")
    services.annotations.record(brought)
    (row,) = rows_of(services, project, tmp_path / "counts.csv")
    assert (row["source"], row["annotator"], row["flags"]) == ("corrected", "", "imported")
    later = NOW + timedelta(minutes=1)
    services.annotations.record(replace(brought, updated_at=later, updated_by="2", lead_time=9.0))
    (row,) = rows_of(services, project, tmp_path / "counts.csv")
    assert (row["source"], row["annotator"], row["flags"]) == ("corrected", "2", "")


def test_predictions_accepted_for_many_tasks_at_once_are_flagged(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", predicted=[CELL])
    shown = services.predictions.of_task(project, 1)[0]
    after = datetime(2099, 1, 1, tzinfo=UTC)
    accepted = Annotation(
        9, project, 1, tuple(shown.regions), after, after, annotator="1", parent_prediction=5
    )
    services.annotations.record(accepted)
    (row,) = rows_of(services, project, tmp_path / "counts.csv")
    assert (row["source"], row["annotator"]) == ("corrected", "1")
    assert row["flags"] == "accepted unopened"
    later = after + timedelta(minutes=1)
    services.annotations.record(replace(accepted, updated_at=later, updated_by="2", lead_time=9.0))
    (row,) = rows_of(services, project, tmp_path / "counts.csv")
    assert row["flags"] == ""


def test_what_came_from_label_studios_own_export_is_flagged_until_somebody_updates_it(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    put(1, "a.png")
    drawn = [{**one, "origin": "prediction"} for one in to_regions([CELL], 64, 48, interface)]
    timed = Annotation(9, project, 1, tuple(drawn), NOW, NOW, annotator="1", lead_time=30.0)
    services.annotations.record(timed)
    (row,) = rows_of(services, project, tmp_path / "counts.csv")
    assert (row["annotator"], row["flags"]) == ("", "imported")
    later = NOW + timedelta(minutes=1)
    services.annotations.record(replace(timed, updated_at=later, updated_by="2", lead_time=39.0))
    (row,) = rows_of(services, project, tmp_path / "counts.csv")
    assert (row["annotator"], row["flags"]) == ("2", "")


def test_what_an_import_brought_in_is_no_other_annotators(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[CELL])
    two = tuple(to_regions([CELL, Box(30, 5, 40, 20, "Cell")], 64, 48, interface))
    services.annotations.record(Annotation(9, project, 1, two, NOW, NOW, annotator="3"))
    for row in rows_of(services, project, tmp_path / "counts.csv"):
        assert "annotators" not in row["flags"]


def test_an_image_in_which_two_annotators_drew_other_numbers_of_boxes_is_flagged(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    put(1, "a.png", corrected=[CELL])
    two = tuple(to_regions([CELL, Box(30, 5, 40, 20, "Cell")], 64, 48, interface))
    for id, (annotator, drawn) in enumerate((("1", two), ("2", two), ("2", two[:1])), start=2):
        later = NOW + timedelta(minutes=id)
        services.annotations.record(
            Annotation(id, project, 1, drawn, later, later, annotator=annotator, lead_time=9.0)
        )
        (row,) = rows_of(services, project, tmp_path / "counts.csv")
        told = "2 annotators, 2 and 1 boxes: the newest counts" if id == 4 else ""
        assert (row["count"], row["flags"]) == (str(len(drawn)), told)


def test_of_two_tasks_of_one_image_the_correction_updated_last_counts(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png", corrected=[CELL])
    services.images.attach_task(project, sha256, 0, 2)
    two = tuple(to_regions([CELL, Box(30, 5, 40, 20, "Cell")], 64, 48, interface))
    later = NOW + timedelta(minutes=1)
    services.annotations.record(Annotation(2, project, 2, two, NOW, later))
    assert counted(services, project, tmp_path) == [("a.png", "2", "")]


def test_a_name_passes_to_no_other_image_when_a_task_is_deleted(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    for task in (1, 2, 3):
        put(task, "a.png", predicted=[CELL] * task)
    named = counted(services, project, tmp_path)
    assert [row[:2] for row in named] == [("a.png", "1"), ("a-2.png", "2"), ("a-3.png", "3")]
    services.images.forget_tasks(project, [1])
    assert counted(services, project, tmp_path) == named[1:]
    (why,) = export_counts(services, project, tmp_path / "counts.csv").notes
    assert "an image whose task was deleted keeps its name): a.png (a-2.png)" in why


def test_tasks_of_label_studio_whose_image_never_came_are_told(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", predicted=[CELL])
    assert export_counts(services, project, tmp_path / "counts.csv").notes == ()
    services.projects.set_tasks(project, 3)
    assert export_counts(services, project, tmp_path / "counts.csv").notes == (
        "not counted: 2 tasks of Label Studio without an image here: not opened yet, or the image "
        "cannot be read",
    )
    put(2, "b.png", predicted=[])
    put(3, "c.png", predicted=[])
    assert export_counts(services, project, tmp_path / "counts.csv").notes == ()


def test_what_was_odd_about_a_prediction_is_told_with_its_counts(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256, regions = put(1, "a.png"), to_regions([CELL], 64, 48, interface)
    flags = ("limit reached: 1,000 cells",)
    services.predictions.put(
        StoredPrediction(project, 1, sha256, 0, "v1+0.5", regions, flags=flags)
    )
    export_counts(services, project, tmp_path / "counts.csv")
    rows = csv.DictReader((tmp_path / "counts.csv").read_text().splitlines())
    assert next(rows)["flags"] == flags[0]


def test_a_doubt_about_a_versions_boxes_ends_once_somebody_corrected_them(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    shas = put(1, "a.png", corrected=[CELL], predicted=[CELL]), put(2, "b.png", predicted=[CELL])
    regions = to_regions([CELL], 64, 48, interface)
    flags = ("unlike-training", "out-of-focus", "unlike-size", "size-unknown")
    for task, sha256 in enumerate(shas, start=1):
        services.predictions.put(
            StoredPrediction(project, task, sha256, 0, "v1+0.5", regions, flags=flags)
        )
    corrected, predicted = rows_of(services, project, tmp_path / "counts.csv")
    assert (corrected["source"], corrected["flags"]) == ("corrected", "out-of-focus")
    assert (predicted["source"], predicted["flags"]) == ("predicted", "; ".join(flags))


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
    services.predictions.put(StoredPrediction(project, 1, shas[0], 0, former, one))
    services.predictions.put(
        StoredPrediction(project, 1, shas[0], 0, f"{CLASSICAL_ID}+p0.22-4be09a", two)
    )
    services.registry.promote(key, STARTER_ID)
    for task, sha256 in enumerate(shas, start=1):
        services.predictions.put(StoredPrediction(project, task, sha256, 0, later, two))
    assert counted(services, project, tmp_path) == [("a.png", "2", later), ("b.png", "2", later)]
    services.registry.rollback(key)
    assert counted(services, project, tmp_path) == [("a.png", "1", former), ("b.png", "2", later)]
    assert export_voc(services, project, tmp_path / "out", corrected_only=False).boxes == 3


def test_an_image_counts_by_what_any_of_its_tasks_shows(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png")
    services.images.attach_task(project, sha256, 0, 2)
    one = to_regions([CELL], 64, 48, interface)
    two = to_regions([CELL, Box(30, 5, 40, 20, "Cell")], 64, 48, interface)
    champion = services.registry.served_name(str(project))
    services.predictions.put(StoredPrediction(project, 2, sha256, 0, champion, two))
    assert counted(services, project, tmp_path) == [("a.png", "2", champion)]
    services.predictions.put(StoredPrediction(project, 1, sha256, 0, "v1+t0.5", one))
    assert counted(services, project, tmp_path) == [("a.png", "2", champion)]
    services.images.forget_tasks(project, [2])
    assert counted(services, project, tmp_path) == [("a.png", "1", "v1+t0.5")]


def test_boxes_of_a_class_that_the_config_lost_count_as_the_default_one(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png")
    former = to_regions([replace(CELL, label="Nucleus")], 64, 48, interface)
    services.predictions.put(StoredPrediction(project, 1, sha256, 0, "v+t0.5", former))
    export_counts(services, project, tmp_path / "counts.csv")
    rows = list(csv.DictReader((tmp_path / "counts.csv").read_text().splitlines()))
    default = services.projects.get(project).default_class
    assert [row["count"] for row in rows if row["class"] == default] == ["1"]
    assert "Nucleus" not in {row["class"] for row in rows}


def test_what_another_image_of_the_tasks_number_was_found_to_hold_is_not_counted(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    former = to_regions([CELL], 64, 48, interface)
    services.predictions.put(StoredPrediction(project, 1, "ab" * 32, 0, "v+t0.5", former))
    put(1, "a.png")
    export_counts(services, project, tmp_path / "counts.csv")
    rows = list(csv.DictReader((tmp_path / "counts.csv").read_text().splitlines()))
    assert {row["count"] for row in rows} == {""}
    champion = services.registry.served_name(str(project))
    services.predictions.put(StoredPrediction(project, 1, "ab" * 32, 0, champion, former))
    services.predictions.put(
        StoredPrediction(project, 1, services.images.all(project)[0].sha256, 0, "w+t0.5", [])
    )
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
    services.predictions.put(StoredPrediction(project, 1, sha256, 0, "v2+t0.5", later))
    Champions(services.registry.root / "champions", CLASSICAL_ID).promote(str(project), "v1")
    assert counted(services, project, tmp_path) == [("a.png", "1", "v1+0.5")]


def counted(services: Services, project: int, folder: Path) -> list[tuple[str, str, str]]:
    """Image, count and version of each image's cells."""
    export_counts(services, project, folder / "counts.csv")
    with (folder / "counts.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "Cell"]
    return [(row["image"], row["count"], row["model_version"]) for row in rows]


def test_boxes_from_before_an_image_was_exchanged_are_flagged_until_somebody_updates_them(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "before.png", corrected=[CELL], predicted=[CELL])
    put(2, "a.png", corrected=[CELL], predicted=[CELL])
    (drawn,) = services.annotations.corrected(project, [1])
    after = encode_png(np.ones((48, 64), np.uint8))
    put(1, "after.png", predicted=[CELL], data=after)  # task 1 shows it now
    rows = rows_of(services, project, tmp_path / "counts.csv")
    assert {row["image"]: row["flags"] for row in rows} == {
        "after.png": "image exchanged since",
        "a.png": "",
    }
    looked_at = replace(drawn, updated_at=datetime.now(UTC) + timedelta(minutes=1))
    services.annotations.record(looked_at)
    assert not any(row["flags"] for row in rows_of(services, project, tmp_path / "counts.csv"))


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
            Annotation(id, project, task, (), NOW, NOW, was_cancelled=is_skipped, lead_time=9.0)
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
    assert "a.png,Cell,predicted,1,,,0.325521,v1+0.5,,\n" in (tmp_path / "counts.csv").read_text()


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
    kept = (project, 1, sha256, 0, "v1+0.5", shown.regions)
    services.predictions.put(StoredPrediction(*kept, watch=shown.watch))
    drawn, after = tuple(to_regions([CELL], 64, 48, interface)), datetime(2099, 1, 1, tzinfo=UTC)
    services.annotations.record(Annotation(1, project, 1, drawn, after, after, lead_time=9.0))
    assert counted(services, project, tmp_path) == [("a.png", "1", "")]


def test_a_box_that_is_shown_to_save_work_alone_does_not_count(
    services: Services, project: int, put: Put, interface: LabellingInterface, tmp_path: Path
) -> None:
    sha256 = put(1, "a.png")
    boxes = [replace(CELL, score=0.61), Box(30, 5, 40, 20, "Cell", 0.25)]
    regions = to_regions(boxes, 64, 48, interface)
    kept = (project, 1, sha256, 0, "v1+p0.20-4be09a", regions)
    services.predictions.put(StoredPrediction(*kept, counted_from=0.6))
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


def rows_of(services: Services, project: int, out: Path) -> list[dict[str, str]]:
    export_counts(services, project, out)
    with out.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["class"] == "Cell"]


def test_counts_nobody_corrected_have_the_range_of_what_judged_their_version_last(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", predicted=[CELL] * 3)
    put(2, "b.png", predicted=[CELL])
    put(3, "c.png", corrected=[CELL], predicted=[CELL])
    out = tmp_path / "counts.csv"
    assert {(r["low"], r["high"]) for r in rows_of(services, project, out)} == {("", "")}
    assert export_counts(services, project, out).sums == ()
    other = report_of(((3, 3),) * 9)
    for off in (4, 2):  # the second is the newer
        judged = report_of((*((3, 3),) * 8, (3, 3 + off)))
        judged_in(services, project, GateDecision(False, ("worse",), other, judged), "v1")
    assert [(r["image"], r["low"], r["high"]) for r in rows_of(services, project, out)] == [
        ("a.png", "1", "5"),
        ("b.png", "0", "2"),
        ("c.png", "", ""),
    ]
    (told,) = export_counts(services, project, out).sums
    assert told.startswith("In 2 predicted images together (95 %, v1): ")
    assert told.endswith(" Cell, 4 found, by 9 held-out images")


def test_images_that_a_version_learned_from_give_no_range(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", predicted=[CELL] * 3)
    report = report_of(((3, 3),) * 9)
    images = tuple(JudgedImage(sha256, is_seen=sha256 == "4") for sha256 in report.images)
    decision = GateDecision(False, ("worse",), report, report, images)
    judged_in(services, project, decision, "v1")
    (row,) = rows_of(services, project, tmp_path / "counts.csv")
    assert (row["low"], row["high"]) == ("", "")


def test_an_image_that_was_skipped_has_no_range_and_is_in_no_sum(
    services: Services, project: int, put: Put, tmp_path: Path
) -> None:
    put(1, "a.png", predicted=[CELL])
    put(2, "b.png", predicted=[CELL])
    services.annotations.record(Annotation(1, project, 1, (), NOW, NOW, was_cancelled=True))
    report = report_of(((3, 3),) * 9)
    judged_in(services, project, GateDecision(False, ("worse",), report, report), "v1")
    skipped, other = rows_of(services, project, tmp_path / "counts.csv")
    assert (skipped["flags"], skipped["low"], other["low"]) == ("skipped", "", "1")
    (told,) = export_counts(services, project, tmp_path / "counts.csv").sums
    assert told.startswith("In 1 predicted image together (95 %, v1): 1 to 1 Cell, 1 found")


@pytest.mark.integration
def test_what_was_drawn_is_not_in_memory_of_all_images_at_once(
    services: Services, project: int, interface: LabellingInterface
) -> None:
    drawn = tuple(to_regions([CELL] * 20, 64, 48, interface))
    show_images(services.images, project, range(3 * AT_ONCE))
    for task in range(3 * AT_ONCE):
        assert services.annotations.record(Annotation(task, project, task, drawn, NOW, NOW))
    known_images(services, project)  # and measure what was done
    tracemalloc.start()
    known, _ = known_images(services, project)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(known) == 3 * AT_ONCE
    assert peak < 2.3 * kept
