from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backend.actions import Actions, Costs
from backend.effort import believing
from backend.effort.believing import corrected_images
from backend.effort.costing import measured_costs
from backend.effort.forecasting import TOO_FEW, UNTAUGHT, Forecast
from backend.effort.measuring import measure, started_from
from backend.effort.report import effort_of
from backend.effort.tally import ByHand, Tally, made_by_people
from backend.effort.wording import work_lines
from backend.services import Services
from backend.store import tables
from model.boxes import Box
from model.classical.detector import CLASSICAL_ID
from model.keeping.champions import Champions
from model.keeping.starter import STARTER_ID
from tests.backend.conftest import asked_of, no_room
from tests.backend.effort.conftest import LATER, cell


def test_a_correction_is_compared_with_what_its_task_was_served(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    _, second = serve(1, cell(10), cell(50), group="high")
    moved = write(cell(52))[0] | {"id": second["id"], "origin": "prediction-changed"}
    submit(1, [moved, *write(cell(120))])
    (found,) = measure(services, project)
    assert found.actions == Actions(moved=1, deleted=1, added=1)
    assert (found.annotator, found.served, found.contrast_group) == (
        "ada",
        "classical-1+t0.5",
        "high",
    )
    assert (found.start, found.cells, found.doubts, found.seconds) == ("prediction", 2, 0, 30.0)


def test_corrections_come_in_the_order_in_which_they_were_first_submitted(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    first = submit(1, serve(1, cell(10)), minute=9).created_at
    for task, minute in ((2, -2), (3, -1)):
        submit(task, serve(task, cell(10)), created_at=first + timedelta(minutes=minute))
    assert [found.task for found in measure(services, project)] == [2, 3, 1]


def test_what_many_corrections_share_is_read_once(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    for task in range(1, 6):
        submit(task, serve(task, cell(10)))
    with asked_of(services.engine) as statements:
        measure(services, project)
    assert len([each for each in statements if "FROM projects" in each]) == 1
    with asked_of(services.engine) as statements:
        found = list(corrected_images(services, project, print))
    assert [image.name for image, _ in found] == [f"image{task}.png" for task in range(1, 6)]
    assert len(statements) == 5


def test_of_many_corrections_the_boxes_of_a_few_images_are_in_memory_at_a_time(
    services: Services, project: int, serve: Any, submit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(believing, "AT_ONCE", 2)
    for task in (5, 3, 1, 2, 4):
        submit(task, serve(task, cell(10)))
    first = services.images.of_task(project, 5)
    assert first is not None
    services.images.attach_task(project, first.sha256, 0, 4)  # a second task of the same image
    found = corrected_images(services, project, print)
    with asked_of(services.engine) as statements:
        next(found)
    read = [each for each in statements if "annotations.result" in each]
    assert len(read) == 1
    services.annotations.delete(project, [102])  # while the first ones are looked at
    assert [annotation.task for _, annotation in found] == [3, 1]
    assert next(corrected_images(services, project, print))[1].task == 4


def test_boxes_stored_while_the_page_was_open_are_not_taken_for_those_it_showed(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    shown = serve(1, cell(10), cell(50), served="old+t0.5")
    serve(1, cell(11), cell(51), cell(90), served="new+t0.5")
    submit(1, shown)
    (found,) = measure(services, project)
    assert (found.served, found.actions) == ("old+t0.5", Actions(kept=2))


def test_two_policies_of_one_version_are_told_apart_by_the_scores_that_regions_keep(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    shown = serve(1, cell(10), cell(50), served="v1+t0.5")
    likelier = [replace(cell(x), score=0.95) for x in (10, 50, 90)]
    serve(1, *likelier, served="v1+p0.22")
    submit(1, shown)
    (found,) = measure(services, project)
    assert (found.served, found.actions) == ("v1+t0.5", Actions(kept=2))


@pytest.mark.parametrize(
    ("seconds", "served", "deleted"), [(3600.0, "v1+p0.22", 1), (30.0, "v1+p0.30", 0)]
)
def test_where_scores_agree_too_the_boxes_are_those_there_when_the_page_was_opened(
    services: Services,
    project: int,
    serve: Any,
    submit: Any,
    seconds: float,
    served: str,
    deleted: int,
) -> None:
    shown = serve(1, cell(10), cell(50), cell(90), served="v1+p0.22", ago=timedelta(hours=1))
    serve(1, cell(10), cell(50), served="v1+p0.30")
    submit(1, shown[:2], lead_time=seconds)
    (found,) = measure(services, project)
    assert (found.served, found.actions) == (served, Actions(kept=2, deleted=deleted))


def test_an_image_from_which_all_was_deleted_is_compared_with_the_newest_before_it(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    serve(1, cell(10), served="old+t0.5")
    serve(1, cell(10), cell(50), served="new+t0.5")
    serve(1, cell(90), served="later+t0.5", ago=-2 * LATER)
    submit(1, [])
    (found,) = measure(services, project)
    assert (found.served, found.actions) == ("new+t0.5", Actions(deleted=2))


def test_after_a_roll_back_an_image_from_which_all_was_deleted_showed_the_champions_boxes(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    serve(1, cell(10), served=f"{CLASSICAL_ID}+t0.5")
    serve(1, cell(10), cell(50), served=f"{STARTER_ID}+t0.4")
    for champion in (CLASSICAL_ID, STARTER_ID):
        services.registry.promote(str(project), champion)
    services.registry.rollback(str(project))
    submit(1, [])
    (found,) = measure(services, project)
    assert (found.served, found.actions) == (f"{CLASSICAL_ID}+t0.5", Actions(deleted=1))


def test_an_empty_page_and_an_import_are_told_apart(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    serve(1, cell(10))
    serve(2, cell(10))
    submit(1, write(cell(60)), parent_prediction=None)
    submit(2, write(cell(60)), parent_prediction=None, lead_time=None)
    drawn, imported = measure(services, project)
    assert (drawn.start, drawn.actions) == ("nothing", Actions(added=1))
    assert (imported.start, imported.actions) == ("import", Actions())


@pytest.fixture(params=[None, (), (cell(10),)], ids=["unknown", "none", "others"])
def other_boxes(services: Services, serve: Any, request: pytest.FixtureRequest) -> None:
    """Task 1 was shown no box of those that are submitted, or what it was shown is not known."""
    serve(1, *request.param or ())
    if request.param is None:
        forget_predictions(services)


def test_an_import_that_somebody_updates_stays_an_import(
    services: Services, project: int, other_boxes: None, submit: Any, write: Any
) -> None:
    boxes = write(cell(60), cell(90), cell(120))
    submit(1, boxes, parent_prediction=None, lead_time=None)
    mended = write(cell(64))[0] | {"id": boxes[0]["id"]}
    submit(1, [mended, *boxes[1:]], minute=5, parent_prediction=None, lead_time=25.0)
    (found,) = measure(services, project)
    assert (found.start, found.actions, found.cells) == ("import", Actions(), 3)
    assert made_by_people([found]) == ()
    assert measured_costs([found]) == Costs()


def test_boxes_of_a_prediction_that_is_not_known_are_an_import(
    services: Services, project: int, other_boxes: None, submit: Any, write: Any
) -> None:
    accepted = [region | {"origin": "prediction"} for region in write(cell(60), cell(90))]
    exported = [*accepted, *write(cell(120))]
    submit(1, exported, parent_prediction=None)  # as from Label Studio's own export
    (found,) = measure(services, project)
    assert (found.start, found.actions, found.cells) == ("import", Actions(), 3)
    services.corrections.put(replace(found, start="nothing", doubts=2))  # as it was kept before
    assert measure(services, project) == [found]


def test_an_import_that_was_taken_for_drawn_by_hand_is_told_anew(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    for task in (1, 2):
        serve(task, cell(10))
        submit(task, write(cell(60)), parent_prediction=None)
    drawn, taken = measure(services, project)
    early = submit(2, [], minute=-1, parent_prediction=None, lead_time=None)
    assert services.annotations.is_brought_in(early.id)
    assert [c.start for c in (drawn, taken)] == ["nothing", "nothing"]
    assert [c.start for c in measure(services, project)] == ["nothing", "import"]


def test_an_import_that_was_taken_for_drawn_after_nothing_was_found_is_told_anew(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    serve(1)
    drawn = submit(1, write(cell(60)), parent_prediction=None)
    assert [c.start for c in measure(services, project)] == ["prediction"]
    submit(1, [], minute=-1, parent_prediction=None, lead_time=None)
    image = services.images.of_task(project, 1)
    assert image is not None
    assert started_from(services, drawn, (image.sha256, image.page)) is None
    assert [c.start for c in measure(services, project)] == ["import"]


@pytest.mark.parametrize("former_lead_time", [None, 300.0])
def test_an_annotation_under_the_number_of_a_deleted_one_has_its_own_time_and_start(
    services: Services,
    project: int,
    serve: Any,
    submit: Any,
    write: Any,
    former_lead_time: float | None,
) -> None:
    serve(1)
    former = submit(1, write(cell(60)), parent_prediction=None, lead_time=former_lead_time)
    services.annotations.delete(project, [former.id])
    at = former.updated_at + timedelta(hours=1)
    again = replace(former, created_at=at, updated_at=at, lead_time=20.0)
    assert services.annotations.record(again)
    (found,) = measure(services, project)
    assert (found.start, found.seconds, found.actions) == ("prediction", 20.0, Actions(added=1))


def forget_predictions(services: Services) -> None:
    with services.engine.begin() as connection:
        connection.execute(tables.predictions.delete())


def test_boxes_that_became_annotations_without_a_page_are_nobodys_work(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    accepted, edited = serve(1, cell(10), cell(50)), serve(2, cell(10))
    submit(1, accepted, lead_time=None)
    submit(2, [*edited, *write(cell(60))], lead_time=None)  # by another program, but corrected
    first, second = measure(services, project)
    assert (first.start, first.actions, first.cells) == ("import", Actions(), 2)
    assert (second.start, second.actions) == ("prediction", Actions(kept=1, added=1))


def test_work_on_an_image_in_which_nothing_was_found_is_that_versions(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    serve(1, served="v1+t0.5")
    submit(1, write(cell(60)), parent_prediction=None)  # as when a draft is taken up again
    (found,) = measure(services, project)
    assert (found.start, found.served) == ("prediction", "v1+t0.5")


def test_events_doubled_late_and_lost_count_once(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    shown = serve(1, cell(10))
    submit(1, shown, lead_time=8.0)
    first = measure(services, project)
    annotation = submit(1, [*shown, *write(cell(60))], minute=3, lead_time=20.0)
    for again in (annotation, replace(annotation, updated_at=annotation.updated_at)):
        services.annotations.record(again)
    second = measure(services, project)
    assert [c.actions for c in first] == [Actions(kept=1)]
    assert [c.actions for c in second] == [Actions(kept=1, added=1)]
    assert measure(services, project) == second
    assert second[0].seconds == 20.0


def test_on_a_full_disk_all_is_compared_and_kept_once_there_is_room(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    first, second, third = (serve(task, cell(10)) for task in (1, 2, 3))
    submit(1, first, lead_time=8.0)
    submit(2, second)
    measure(services, project)
    submit(1, [*first, *write(cell(60))], minute=3, lead_time=20.0)
    submit(3, third)
    with no_room():
        found = measure(services, project)
    assert {c.task: (c.actions, c.totals_s) for c in found} == {
        1: (Actions(kept=1, added=1), (8.0, 20.0)),
        2: (Actions(kept=1), (30.0,)),
        3: (Actions(kept=1), (30.0,)),
    }
    assert len(services.corrections.unmeasured(project)) == 2
    assert measure(services, project) == found
    assert services.corrections.unmeasured(project) == []


def test_a_correction_that_was_deleted_or_skipped_counts_no_more(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    for task in (1, 2):
        submit(task, serve(task, cell(10)))
    assert len(measure(services, project)) == 2
    services.annotations.delete(project, [101])
    submit(2, [], minute=1, was_cancelled=True)
    assert measure(services, project) == []


def test_each_update_counts_with_what_it_added(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    shown = serve(1, cell(10))
    for minute, total in ((0, 10.0), (5, 80.0), (9, 5.0)):  # the last began anew
        submit(1, shown, minute=minute, lead_time=total)
    (found,) = measure(services, project)
    assert found.totals_s == (10.0, 80.0, 5.0)
    assert found.seconds == 80.0


def test_the_tally_takes_the_median_and_leaves_unknown_times_out(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    for task, seconds in ((1, 4.0), (2, 6.0), (3, 80.0), (4, None)):
        submit(task, serve(task, cell(10), cell(50)), lead_time=seconds)
    assert effort_of(services, project).timed == 3
    total = Tally(tuple(measure(services, project)))
    assert total.seconds_per_cell == 3.0
    assert total.hours_saved(72) == pytest.approx(3 * 2 * (72 - 3.0) / 3600)
    assert total.effort == 0


def test_the_share_of_tight_boxes_counts_deleted_ones_too(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    a, b, c, _ = serve(1, cell(10), cell(50), cell(90), cell(130))
    near, far = write(cell(51.5), cell(98))
    submit(1, [a, near | {"id": b["id"]}, far | {"id": c["id"]}, *write(cell(160))])
    total = Tally(tuple(measure(services, project)))
    assert total.share_at(0.75) == 2 / 4  # kept and 86 %; 43 % and deleted are not
    assert total.share_at(0.9) == 1 / 4


def test_the_report_splits_by_version_annotator_and_contrast(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    submit(1, serve(1, cell(10), group="low"), annotator="ada")
    submit(2, serve(2, cell(10), served="trained-x+t0.4", group="high"), annotator="ben")
    report = effort_of(services, project)
    assert list(report.by_version) == ["classical-1+t0.5", "trained-x+t0.4"]
    assert list(report.by_annotator) == ["ada", "ben"]
    assert report.by_group["high"].images == 1
    assert report.forecast == TOO_FEW


def test_what_the_champion_costs_is_told_apart_from_what_all_did(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    champion = services.registry.champion("1").id
    submit(1, serve(1, cell(10), cell(50), served="old+t0.5")[:1])
    for task, policy in ((2, "t0.5"), (3, "p0.22")):
        submit(task, serve(task, cell(10), served=f"{champion}+{policy}"))
    serve(4, cell(10), served="old+t0.5")
    submit(4, write(cell(60)), parent_prediction=None)
    work = effort_of(services, project).work
    assert work.now.effort == 0
    assert (work.total.images, work.total.effort) == (3, 1 / 3)
    assert (work.by_hand.images, work.by_hand.effort) == (1, 1)


def test_what_the_champion_costs_is_told_also_where_its_folder_cannot_be_read(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    submit(1, serve(1, cell(10), served="gone+t0.5"))
    make_champion(services, "gone")
    assert effort_of(services, project).work.now.images == 1


def test_an_image_that_two_corrected_is_one_image(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    shown = serve(1, cell(10))
    submit(1, shown)
    submit(1, shown, id=301, annotator="ben")
    total = effort_of(services, project).work.total
    assert (total.images, total.annotations, total.cells) == (1, 2, 2)


def trained(services: Services, project: int, milestone: int, corrected: int) -> None:
    run = services.runs.open(project, milestone, "milestone")
    assert run is not None
    services.runs.start(run.id)
    services.runs.freeze(run.id, f"snapshot {milestone}", corrected, [])
    services.runs.finish(run.id, "promoted", candidate=f"trained-{milestone}")


@pytest.fixture
def learned(services: Services, project: int, serve: Any, submit: Any) -> None:
    """Two versions, each corrected in five images; the second is champion."""
    cells = [Box(x, 10, x + 8, 20, "Cell", 0.9) for x in range(5, 165, 10)]
    deleted = [(5, number) for number in (8, 6, 7, 5, 8)] + [(10, n) for n in (4, 2, 3, 4, 2)]
    for number, (milestone, gone) in enumerate(deleted):
        shown = serve(number, *cells, served=f"trained-{milestone}+t0.5")
        submit(number, shown[gone:])
    trained(services, project, 5, 5)
    trained(services, project, 10, 21)  # the others were deleted since
    make_champion(services, "trained-10")


def make_champion(services: Services, name: str) -> None:
    """Make a version champion whose folder is not there."""
    Champions(services.registry.root / "champions", CLASSICAL_ID).promote("1", name)


def test_two_trained_versions_make_a_forecast_of_the_milestone_that_comes_next(
    services: Services, project: int, learned: None
) -> None:
    report = effort_of(services, project)
    coming = report.forecast
    assert isinstance(coming, Forecast)
    told = report.to_json()["forecast"]
    assert (told["verdict"], told["then"]) == (coming.verdict, coming.then)
    assert coming.at == 40
    assert coming.then < coming.now
    assert coming.between.low < coming.then < coming.between.high


def test_images_corrected_with_a_version_that_no_run_trained_say_nothing_of_what_learning_brings(
    services: Services, project: int, learned: None, serve: Any, submit: Any
) -> None:
    before = effort_of(services, project).forecast
    for task in range(20, 26):
        submit(task, serve(task, cell(10), cell(50), served="starter-1+t0.5")[1:])
    assert effort_of(services, project).forecast == before


def test_images_that_two_corrected_make_a_forecast_no_surer(
    services: Services, project: int, learned: None
) -> None:
    before = effort_of(services, project).forecast
    for annotation in services.annotations.corrected(project):
        services.annotations.record(replace(annotation, id=annotation.id + 100, annotator="ben"))
    again = effort_of(services, project)
    assert again.work.total.annotations == 20
    assert again.forecast == before


def test_three_images_that_two_corrected_are_too_few_for_a_forecast(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    for milestone in (5, 10):
        trained(services, project, milestone, milestone)
        for task in range(milestone, milestone + 3):
            shown = serve(task, cell(10), cell(50), served=f"trained-{milestone}+t0.5")
            for number in (0, 100):
                submit(task, shown[1:], id=task + number)
    make_champion(services, "trained-10")
    assert effort_of(services, project).forecast == TOO_FEW


def test_of_a_champion_that_no_run_trained_nothing_is_forecast(
    services: Services, project: int, learned: None
) -> None:
    make_champion(services, "starter")
    assert effort_of(services, project).forecast == UNTAUGHT


def test_seconds_are_known_where_the_first_event_was_lost(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    shown = serve(1, cell(10))
    late = submit(1, shown, minute=4, lead_time=12.0)
    services.annotations.record(
        replace(late, updated_at=late.updated_at - timedelta(minutes=4), lead_time=7.0)
    )
    (found,) = measure(services, project)
    assert found.totals_s == (7.0, 12.0)
    assert found.seconds == 12.0


def test_work_that_is_slower_than_by_hand_saves_less_than_nothing(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    serve(1, cell(10))
    submit(1, write(cell(60), cell(90)), lead_time=2 * 72 + 36.0)
    submit(2, write(cell(60)), parent_prediction=None, lead_time=5.0)  # drawn: nothing was served
    total = Tally(tuple(measure(services, project)))
    assert total.hours_saved(72) == pytest.approx(-36 / 3600)


def test_an_image_without_a_cell_whose_boxes_were_deleted_costs_its_time(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    submit(1, serve(1, cell(10), cell(50)), lead_time=8.0)
    serve(2, cell(10), cell(50), cell(90))
    submit(2, [], lead_time=120.0)
    total = Tally(tuple(measure(services, project)))
    assert total.hours_saved(72) == pytest.approx((2 * 72 - 8 - 120) / 3600)


def test_hours_are_those_that_the_seconds_and_the_cells_of_images_with_boxes_give(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    for task, seconds in ((1, 4.0), (2, 6.0), (3, 30.0)):
        submit(task, serve(task, cell(10), cell(50)), lead_time=seconds)
    submit(4, write(cell(60)), parent_prediction=None, lead_time=80.0)
    part = Tally(tuple(measure(services, project))).with_boxes
    assert part.seconds_per_cell == 3.0
    assert part.hours_saved(72) == pytest.approx((72 - 3.0) * 6 / 3600)


def test_where_no_time_with_boxes_is_known_no_hours_are_told(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    submit(1, serve(1, cell(10)), lead_time=None)
    submit(2, write(cell(60)), parent_prediction=None, lead_time=36.0)
    total = Tally(tuple(measure(services, project)))
    assert total.hours_saved(72) is None
    assert total.to_json(ByHand())["hours_saved"] == {"project": None, "tare_2020": None}


def test_hours_are_saved_first_against_what_the_project_itself_takes_by_hand_once_it_is_known(
    services: Services, project: int, serve: Any, submit: Any, write: Any
) -> None:
    def lines() -> dict[str, str]:
        return dict(work_lines(effort_of(services, project).work))

    row = [cell(x, side=8) for x in range(0, 190, 19)]
    submit(1, serve(1, *row), lead_time=20.0)
    for task in range(2, 7):
        assert lines()["time"] == (
            "2.0 s a cell: 0.2 hours saved against the 72 s a cell by hand of Tare 2020"
        )
        serve(task, cell(10, y=60))
        submit(task, write(*row), parent_prediction=None, lead_time=83.0)
    assert lines()["time"] == (
        "2.0 s a cell: 0.0 hours saved against the 8.3 s a cell by hand in this project, "
        "0.2 hours saved against the 72 s a cell by hand of Tare 2020"
    )
    assert lines()["by hand"] == "5 images with 50 cells drawn without boxes, 8.3 s a cell"
    told = effort_of(services, project).to_json()
    assert told["by_hand_seconds_per_cell"] == {"project": 8.3, "tare_2020": 72.0}
    assert told["total"]["hours_saved"] == {"project": 0.0175, "tare_2020": 0.1944}


def test_an_image_annotated_again_by_the_same_person_is_by_hand_drawn_once(
    services: Services, project: int, serve: Any, submit: Any
) -> None:
    shown = serve(1, cell(10), cell(50))
    submit(1, shown, annotator="ann", lead_time=6.0)
    (once,) = measure(services, project)
    again = replace(once, annotation=once.annotation + 1)
    by_another = replace(once, annotation=once.annotation + 2, annotator="bob")
    assert Tally((once,)).hours_saved(72) == pytest.approx((2 * 72 - 6) / 3600)
    assert Tally((once, again)).hours_saved(72) == pytest.approx((2 * 72 - 12) / 3600)
    assert Tally((once, by_another)).hours_saved(72) == pytest.approx((4 * 72 - 12) / 3600)
