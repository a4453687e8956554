from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import numpy as np
import pytest

from backend.errors import LabelStudioError, LabelStudioMissing
from backend.learning.push import REFUSED_IN_A_ROW, push
from backend.learning.taken import project_folder, take
from backend.services import Services
from backend.store.predictions import StoredPrediction
from model.classical.detector import CLASSICAL_ID
from model.generated.fields import EASY, generate_field
from preprocessing.images import encode_png

FIELD = encode_png(generate_field(1, (96, 96), 6, EASY).pixels)


def tasks(*ids: int) -> list[dict[str, Any]]:
    return [
        {"id": id, "data": {"image": "/data/a.png"}, "annotations": [], "predictions": []}
        for id in ids
    ]


def test_unlabelled_tasks_get_the_champions_boxes_and_the_project_shows_them(
    services: Services, project: int, label_studio: Any
) -> None:
    given = tasks(*range(1, 12))
    given[0]["annotations"] = [{"id": 1}]
    recorded = label_studio(given, {"/data/a.png": FIELD})
    assert push(services, project, CLASSICAL_ID) == 10
    names = {name for _, name in recorded.predictions}
    assert [task for task, _ in recorded.predictions] == list(range(2, 12))
    assert names == {recorded.model_version}
    assert recorded.model_version.startswith(f"{CLASSICAL_ID}+")
    served = services.predictions.last_shown(project, 2)
    assert served is not None
    assert len(served.regions) > 0


def test_a_task_that_was_only_skipped_is_open_and_gets_the_champions_boxes(
    services: Services, project: int, label_studio: Any
) -> None:
    given = tasks(1, 2)
    given[0]["annotations"] = [{"id": 1, "was_cancelled": True}]
    recorded = label_studio(given, {"/data/a.png": FIELD})
    assert push(services, project, CLASSICAL_ID) == 2
    assert sorted(task for task, _ in recorded.predictions) == [1, 2]


def test_pushed_twice_nothing_is_stored_twice(
    services: Services, project: int, label_studio: Any
) -> None:
    recorded = label_studio(tasks(1, 2), {"/data/a.png": FIELD})
    push(services, project, CLASSICAL_ID)
    for task, name in recorded.predictions:
        recorded.given[task - 1]["predictions"] = [{"model_version": name}]
    assert push(services, project, CLASSICAL_ID) == 0
    assert len(recorded.predictions) == 2


def test_a_push_is_dropped_when_another_version_is_champion(
    services: Services, project: int, label_studio: Any
) -> None:
    recorded = label_studio(tasks(1, 2), {"/data/a.png": FIELD})
    assert push(services, project, "trained-20261124-161502-3fa9") == 0
    assert recorded.predictions == []
    assert recorded.model_version == ""


def test_a_deleted_task_or_an_unreadable_image_holds_up_nothing(
    services: Services, project: int, label_studio: Any
) -> None:
    given = tasks(1, 2, 3)
    given[1]["data"] = {"image": "/data/empty.png"}
    recorded = label_studio(given, {"/data/a.png": FIELD, "/data/empty.png": b""})
    recorded.refuses = {1}
    assert push(services, project, CLASSICAL_ID) == 1
    assert [task for task, _ in recorded.predictions] == [3]


def test_a_label_studio_that_takes_nothing_fails_the_push(
    services: Services, project: int, label_studio: Any
) -> None:
    recorded = label_studio(tasks(1, 2), {"/data/a.png": FIELD})
    recorded.refuses = {1, 2}
    with pytest.raises(LabelStudioError, match="404"):
        push(services, project, CLASSICAL_ID)
    assert recorded.model_version == ""


def test_a_version_whose_name_label_studio_refuses_fails_the_push_only_if_it_gave_boxes(
    services: Services, project: int, label_studio: Any
) -> None:
    def refuse(id: int, **fields: Any) -> NoReturn:
        raise LabelStudioError("Label Studio answered 400: it knows no predictions of that name")

    recorded = label_studio([], {"/data/a.png": FIELD})
    recorded.patch_project = refuse
    assert push(services, project, CLASSICAL_ID) == 0
    recorded.given[:] = tasks(1)
    with pytest.raises(LabelStudioError, match="answered 400"):
        push(services, project, CLASSICAL_ID)


def test_with_label_studio_away_the_push_fails_and_says_so(
    services: Services, project: int
) -> None:
    with pytest.raises(LabelStudioError, match="could not be reached"):
        push(services, project, CLASSICAL_ID)


def test_an_image_without_cells_is_pushed_as_such(
    services: Services, project: int, label_studio: Any
) -> None:
    flat = encode_png(np.full((64, 64), 90, np.uint8))
    recorded = label_studio(tasks(1), {"/data/a.png": flat})
    assert push(services, project, CLASSICAL_ID) == 1
    assert len(recorded.predictions) == 1


def shown(score: float | None, id: int = 1) -> dict[str, Any]:
    return {"id": id, "model_version": "older+t0.5", "result": [], "score": score}


@pytest.mark.parametrize(
    ("pushed", "order"), [(None, [3, 4, 2, 5, 1]), ("older+t0.5", [1, 3, 4, 2, 5])]
)
def test_tasks_whose_boxes_will_be_corrected_most_come_first_but_for_those_that_would_open_empty(
    services: Services, project: int, label_studio: Any, pushed: str | None, order: list[int]
) -> None:
    services.projects.set_pushed(project, pushed)
    given = tasks(1, 2, 3, 4, 5)
    given[1]["predictions"] = [shown(0.9)]
    given[2]["predictions"] = [shown(0.4)]
    given[3]["predictions"] = [shown(0.5, id=9), shown(0.1)]
    given[4]["predictions"] = [shown(None)]
    recorded = label_studio(given, {"/data/a.png": FIELD})
    assert push(services, project, CLASSICAL_ID) == 5
    assert [task for task, _ in recorded.predictions] == order


def test_what_no_open_page_can_show_any_more_is_taken_back_from_label_studio(
    services: Services, project: int, label_studio: Any
) -> None:
    (given,) = tasks(1)
    days = {3: 30, 5: 20, 7: 10, 8: 2, 9: 1}
    given["predictions"] = [
        {
            "id": id,
            "model_version": f"v{id}+t0.5",
            "created_at": (datetime.now(UTC) - timedelta(days=age)).isoformat(),
        }
        for id, age in days.items()
    ]
    given["predictions"] += [{"id": 4, "model_version": "someone else's"}]
    recorded = label_studio([given], {"/data/a.png": FIELD})
    for id in days:
        services.predictions.put(StoredPrediction(project, 1, "0" * 64, 0, f"v{id}+t0.5", ()))
    assert push(services, project, CLASSICAL_ID) == 1
    # The page of the third may have been opened until two days ago.
    assert [one["id"] for one in recorded.given[0]["predictions"]] == [7, 8, 9, 4]
    kept = {one.served for one in services.predictions.of_task(project, 1)}
    assert kept == {*(f"v{id}+t0.5" for id in days), recorded.model_version}


def test_a_task_that_was_opened_or_labelled_before_its_turn_is_left_alone(
    services: Services, project: int, label_studio: Any
) -> None:
    recorded = label_studio(tasks(1, 2, 3), {"/data/a.png": FIELD})
    now = {task["id"]: dict(task) for task in recorded.given}
    now[1]["predictions"] = [{"model_version": "classical-1+t0.5"}]
    now[2]["annotations"] = [{"id": 1, "was_cancelled": False}]
    recorded.listed_task = lambda _, id: now[id]
    assert push(services, project, CLASSICAL_ID) == 1
    assert [task for task, _ in recorded.predictions] == [3]


def test_a_push_gives_way_to_a_run_and_goes_on_after_it(
    services: Services, project: int, label_studio: Any
) -> None:
    recorded = label_studio(tasks(1, 2), {"/data/a.png": FIELD})
    run = services.runs.open(project, 5, "button")
    assert run is not None
    assert push(services, project, CLASSICAL_ID) == 0
    assert services.projects.get(project).pushed is None
    services.runs.finish(run.id, "cancelled")
    assert push(services, project, CLASSICAL_ID) == 2
    assert services.projects.get(project).pushed == "classical-1+t0.5"
    assert recorded.model_version == "classical-1+t0.5"


def test_a_push_gives_no_way_to_a_run_that_waits_for_another_of_its_project(
    services: Services, project: int, label_studio: Any
) -> None:
    label_studio(tasks(1, 2), {"/data/a.png": FIELD})
    services.runs.open(project, 5, "button")
    with take(project_folder(services.settings, project)):
        assert push(services, project, CLASSICAL_ID) == 2


def test_a_label_studio_that_went_away_ends_the_push_soon(
    services: Services, project: int, label_studio: Any
) -> None:
    recorded = label_studio(tasks(*range(1, 40)), {"/data/a.png": FIELD})
    recorded.refuses = set(range(3, 40))
    with pytest.raises(LabelStudioError):
        push(services, project, CLASSICAL_ID)
    assert len(recorded.predictions) == 2
    assert services.projects.get(project).pushed is None


@pytest.mark.parametrize(("refused", "known"), [("", "classical-1+t0.5"), ("timed out", None)])
def test_a_push_that_a_task_was_refused_in_is_not_taken_for_done(
    services: Services, project: int, label_studio: Any, refused: str, known: str | None
) -> None:
    recorded = label_studio(tasks(1, 2), {"/data/a.png": FIELD})
    create = recorded.create_prediction

    def create_prediction(task: int, *rest: Any) -> int:
        if refused and task == 1:
            raise LabelStudioError(refused)
        return create(task, *rest)

    recorded.create_prediction = create_prediction
    push(services, project, CLASSICAL_ID)
    assert services.projects.get(project).pushed == known


def test_a_push_in_which_an_image_could_not_be_fetched_is_not_taken_for_done(
    services: Services, project: int, label_studio: Any
) -> None:
    given = tasks(1, 2)
    given[1]["data"] = {"image": "/data/away.png"}
    recorded = label_studio(given, {"/data/a.png": FIELD})
    assert push(services, project, CLASSICAL_ID) == 1
    assert services.projects.get(project).pushed is None
    recorded.given.pop(0)
    assert push(services, project, CLASSICAL_ID) == 0
    assert services.projects.get(project).pushed is None


def test_a_push_in_which_a_task_is_not_listed_gives_the_others_boxes_and_is_not_taken_for_done(
    services: Services, project: int, label_studio: Any
) -> None:
    recorded = label_studio(tasks(1, 2), {"/data/a.png": FIELD})
    recorded.unlisted = {1}
    assert push(services, project, CLASSICAL_ID) == 1
    assert services.projects.get(project).pushed is None


@pytest.mark.parametrize(
    ("error", "pushed"), [(LabelStudioMissing, "classical-1+t0.5"), (LabelStudioError, None)]
)
def test_many_images_in_a_row_that_cannot_be_fetched_do_not_keep_a_champion_from_being_shown(
    services: Services, project: int, label_studio: Any, error: type[Exception], pushed: str | None
) -> None:
    given = tasks(*range(1, 2 * REFUSED_IN_A_ROW))
    for task in given[:REFUSED_IN_A_ROW]:
        task["data"] = {"image": "/data/away.png"}
    recorded = label_studio(given)

    def download(path: str) -> bytes:
        if path == "/data/away.png":
            raise error(f"GET {path}: It is not there")
        return FIELD

    recorded.download = download
    assert push(services, project, CLASSICAL_ID) == REFUSED_IN_A_ROW - 1
    assert recorded.model_version == "classical-1+t0.5"
    assert services.projects.get(project).pushed == pushed


def test_many_tasks_in_a_row_that_were_deleted_meanwhile_do_not_end_a_push(
    services: Services, project: int, label_studio: Any
) -> None:
    listed = tasks(*range(1, 2 * REFUSED_IN_A_ROW))
    recorded = label_studio(listed[REFUSED_IN_A_ROW:], {"/data/a.png": FIELD})
    recorded.unlabelled_tasks = lambda project, _: iter(listed)
    assert push(services, project, CLASSICAL_ID) == REFUSED_IN_A_ROW - 1
    assert services.projects.get(project).pushed == "classical-1+t0.5"


def test_a_push_in_which_an_image_was_not_looked_at_is_not_taken_for_done(
    services: Services, project: int, label_studio: Any
) -> None:
    settings = services.settings.model_copy(update={"predict_budget_s": -1.0})
    label_studio(tasks(1), {"/data/a.png": FIELD})
    hasty = replace(services, settings=settings)
    hasty.__dict__["label_studio"] = services.label_studio
    assert push(hasty, project, CLASSICAL_ID) == 0
    assert services.projects.get(project).pushed is None


@pytest.mark.parametrize(
    "data", [{"image": "/data/empty.png"}, {"image": ""}, {"image": "http://[x/y.png"}]
)
def test_an_image_that_is_none_does_not_have_its_project_pushed_for_ever(
    services: Services, project: int, label_studio: Any, data: dict[str, str]
) -> None:
    given = tasks(1, 2)
    given[1]["data"] = data
    files, elsewhere = (
        {"/data/a.png": FIELD, "/data/empty.png": b""},
        services.label_studio.download,
    )
    label_studio(given).download = lambda path: files[path] if path in files else elsewhere(path)
    assert push(services, project, CLASSICAL_ID) == 1
    assert services.projects.get(project).pushed == "classical-1+t0.5"


def test_a_label_config_that_is_changed_during_a_push_stays_changed(
    services: Services, project: int, label_studio: Any
) -> None:
    recorded = label_studio(tasks(1, 2), {"/data/a.png": FIELD})
    create = recorded.create_prediction

    def create_prediction(task: int, *rest: Any) -> int:
        before = services.projects.get(project)
        changed = before.label_config.replace("Debris", "Dust")
        services.projects.ensure(project, before.title, changed)
        return create(task, *rest)

    recorded.create_prediction = create_prediction
    assert push(services, project, CLASSICAL_ID) == 2
    assert "Dust" in services.projects.get(project).classes
