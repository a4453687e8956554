from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest

from backend.errors import LabelStudioError, LabelStudioSilent
from backend.learning.reconcile import fetch_images, reconcile, reconcile_changes
from backend.services import Services
from backend.serving.task_images import stored_task_image
from backend.store.predictions import StoredPrediction
from preprocessing.images import encode_png

PNG = encode_png(np.zeros((480, 640), np.uint8))
NEVER = datetime(2000, 1, 1, tzinfo=UTC)
UPLOAD = "/data/upload/1/246ed702-img3.png"


@pytest.fixture
def task(payload: Any) -> dict[str, Any]:
    """The recorded task 4 with its annotation 5, as /api/tasks has them."""
    event = payload("ANNOTATION_CREATED-ui")
    annotation = {k: v for k, v in event["annotation"].items() if k not in ("task", "project")}
    return {**event["task"], "annotations": [annotation]}


def test_an_event_that_was_lost_is_made_good(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    label_studio([task], {UPLOAD: PNG})
    done = reconcile(services, project)
    assert (done.unreadable, done.kept) == ((), 1)
    assert [a.id for a in services.annotations.corrected(project)] == [5]
    image = services.images.of_task(project, 4)
    assert image is not None
    assert (image.width, image.height, image.name) == (640, 480, "img3.png")
    assert services.images.path(image.sha256).read_bytes() == PNG


def test_a_second_look_finds_nothing_new(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    label_studio([task], {UPLOAD: PNG})
    reconcile(services, project)
    before = services.annotations.held(project)
    reconcile(services, project)
    assert services.annotations.held(project) == before


def test_a_deletion_that_was_lost_is_made_good(
    services: Services, project: int, label_studio: Any, correct: Any
) -> None:
    correct(range(2))
    label_studio([])
    reconcile(services, project)
    assert services.annotations.corrected_count(project) == 0


def test_a_task_that_slipped_between_two_pages_is_kept_with_its_annotation(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    recorded = label_studio([task], {UPLOAD: PNG})
    reconcile(services, project)
    recorded.tasks = lambda id, _: iter(())  # an earlier one was deleted, and all moved up by one
    reconcile(services, project)
    assert services.annotations.corrected_count(project) == 1
    assert services.images.of_task(project, 4) is not None


def test_what_was_deleted_of_such_a_task_is_forgotten(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    recorded = label_studio([task], {UPLOAD: PNG})
    reconcile(services, project)
    recorded.tasks = lambda id, _: iter(())
    task["annotations"].clear()
    reconcile(services, project)
    assert services.annotations.known(project) == {}
    assert services.images.of_task(project, 4) is not None


def test_a_known_task_that_is_not_listed_is_asked_for_by_its_number(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    recorded = label_studio([task], {UPLOAD: PNG})
    reconcile(services, project)
    recorded.unlisted = {4}
    task["annotations"].clear()
    reconcile(services, project)
    assert services.annotations.known(project) == {}
    assert services.images.of_task(project, 4) is not None


def test_a_task_whose_number_is_another_projects_now_is_forgotten(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    recorded = label_studio([task], {UPLOAD: PNG})
    reconcile(services, project)
    recorded.given[0] = {**task, "project": project + 1}
    reconcile(services, project)
    assert services.annotations.known(project) == {}
    assert services.images.of_task(project, 4) is None


def test_a_task_that_label_studio_does_not_answer_for_is_said_and_holds_up_no_other(
    services: Services, project: int, label_studio: Any, task: dict[str, Any], correct: Any
) -> None:
    recorded = label_studio([task], {UPLOAD: PNG})
    reconcile(services, project)
    correct([7, 8])  # 7 was deleted there, and its event lost
    recorded.tasks = lambda id, _: iter(())
    answers = {4: "Label Studio answered 500", 8: task | {"id": 8}}
    asked = recorded.listed_task

    def answer(project: int, id: int) -> Any:
        if isinstance(answers.get(id), str):
            raise LabelStudioError(answers[id])
        return answers.get(id) or asked(project, id)

    recorded.listed_task = answer
    done = reconcile(services, project)
    assert done.unanswered == ("task 4 stays as it was known: Label Studio answered 500",)
    assert services.annotations.known(project) == {5: 4}
    assert services.images.known_tasks(project) == {4, 8}


def test_a_task_that_alone_has_no_answer_in_time_holds_up_no_other(
    services: Services, project: int, label_studio: Any, task: dict[str, Any], correct: Any
) -> None:
    recorded = label_studio([task], {UPLOAD: PNG})
    correct([7])

    def slow(project: int, id: int) -> Any:
        raise LabelStudioSilent("did not answer /api/tasks within 30 s")

    recorded.listed_task = slow
    done = reconcile(services, project)
    assert done.unanswered == (
        "task 7 stays as it was known: did not answer /api/tasks within 30 s",
    )
    assert set(services.annotations.known(project).values()) == {4, 7}


def test_a_label_studio_that_answers_nothing_any_more_ends_the_look(
    services: Services, project: int, label_studio: Any, correct: Any
) -> None:
    correct(range(1, 40))
    recorded, asked = label_studio(), []

    def away(*ids: int) -> Any:
        asked.append(ids)
        recorded.project = away
        raise LabelStudioSilent("could not be reached")

    recorded.listed_task = away
    with pytest.raises(LabelStudioSilent):
        reconcile(services, project)
    assert asked == [(project, 1), (project,)]
    assert len(services.annotations.known(project)) == 39


def test_an_open_task_that_was_gone_for_a_while_shows_its_image_again(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    shown, other = ({**task, "id": id, "annotations": []} for id in (4, 5))
    recorded = label_studio([shown, other], {UPLOAD: PNG})
    image = stored_task_image(services, project, shown, "image")
    services.predictions.put(StoredPrediction(project, 4, image.sha256, 0, "v1+p", []))
    recorded.given.clear()
    reconcile(services, project)
    assert services.images.of_task(project, 4) is None
    recorded.given[:] = shown, other
    reconcile(services, project)
    assert services.images.known_tasks(project) == {4}


def test_what_is_deleted_while_all_tasks_are_listed_stays_so(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    recorded = label_studio([task], {UPLOAD: PNG})
    reconcile(services, project)

    def tasks(id: int, on_unlisted: Any) -> Any:
        services.annotations.delete(project, [5])
        yield task

    recorded.tasks = tasks
    reconcile(services, project)
    assert services.annotations.known(project) == {}


def test_what_is_updated_while_all_tasks_are_listed_stays_so(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    recorded = label_studio([task], {UPLOAD: PNG})
    reconcile(services, project)
    [before] = services.annotations.corrected(project)
    updated = replace(before, updated_at=before.updated_at + timedelta(minutes=1))

    def tasks(id: int, on_unlisted: Any) -> Any:
        services.annotations.record(updated)
        yield task

    recorded.tasks = tasks
    reconcile(services, project)
    assert services.annotations.corrected(project) == [updated]


def test_a_task_that_is_opened_while_all_are_listed_is_not_forgotten(
    services: Services, project: int, label_studio: Any, task: dict[str, Any], add_image: Any
) -> None:
    recorded = label_studio([task], {UPLOAD: PNG})

    def tasks(id: int, on_unlisted: Any) -> Any:
        yield task
        add_image(7)

    recorded.tasks = tasks
    reconcile(services, project)
    assert services.images.known_tasks(project) == {4, 7}


def exchanged(task: dict[str, Any], address: str, labelled: bool) -> dict[str, Any]:
    return task | {"data": {"image": address}} | ({} if labelled else {"annotations": []})


@pytest.mark.parametrize("labelled", [True, False])
def test_a_task_whose_image_is_exchanged_shows_the_new_one_without_what_was_found_in_the_old(
    services: Services, project: int, label_studio: Any, task: dict[str, Any], labelled: bool
) -> None:
    other = encode_png(np.ones((30, 40), np.uint8))
    recorded = label_studio([exchanged(task, UPLOAD, labelled)], {UPLOAD: PNG, "/data/b": other})
    first = stored_task_image(services, project, task, "image")
    services.predictions.put(StoredPrediction(project, 4, first.sha256, 0, "v1+p", []))
    reconcile(services, project)
    boxes = [{"id": 9, "model_version": "v1+p", "result": []}]
    recorded.given[:] = [exchanged(task, "/data/b", labelled) | {"predictions": boxes}]
    for look in (partial(reconcile_changes, since=NEVER), reconcile):
        look(services, project)
        now = services.images.of_task(project, 4)
        assert now is not None
        assert (now.name, now.width, services.annotations.corrected_count(project)) == (
            "b",
            40,
            labelled,
        )
    assert services.predictions.last_shown_of(project, now.sha256, 0, "v1+p") is None
    assert recorded.given[0]["predictions"] == (boxes if labelled else [])


def test_an_image_that_came_meanwhile_is_not_forgotten_where_it_could_not_be_fetched_again(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    recorded = label_studio([], {UPLOAD: PNG})
    fetched = recorded.download

    def fail(path: str) -> bytes:
        recorded.download = fetched
        stored_task_image(services, project, task, "image")  # such as when it is opened
        raise LabelStudioError("too busy")

    recorded.download = fail
    with pytest.raises(LabelStudioError):
        stored_task_image(services, project, task, "image")
    assert services.images.known_tasks(project) == {4}


def test_a_task_that_is_opened_before_its_exchange_was_seen_is_of_its_new_image(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    label_studio([], {UPLOAD: PNG, "/data/b": encode_png(np.ones((30, 40), np.uint8))})
    widths = [
        stored_task_image(services, project, exchanged(task, address, False), "image").width
        for address in (UPLOAD, "/data/b", UPLOAD)
    ]
    assert widths == [640, 40, 640]


@pytest.mark.parametrize("labelled", [True, False])
def test_an_image_that_only_moved_or_has_no_address_now_stays_what_it_was_and_keeps_its_boxes(
    services: Services, project: int, label_studio: Any, task: dict[str, Any], labelled: bool
) -> None:
    files = {UPLOAD: PNG, "/data/moved.png": PNG}
    recorded = label_studio([exchanged(task, UPLOAD, labelled)], files)
    shown = stored_task_image(services, project, task, "image")
    services.predictions.put(StoredPrediction(project, 4, shown.sha256, 0, "v1+p", []))
    reconcile(services, project)
    first = services.images.of_task(project, 4)
    boxes = [{"id": 9, "model_version": "v1+p", "result": []}]
    for address in ("/data/moved.png", "", UPLOAD):
        recorded.given[:] = [exchanged(task, address, labelled) | {"predictions": boxes}]
        assert reconcile(services, project).unreadable == ()
        assert services.images.of_task(project, 4) == first
        assert recorded.given[0]["predictions"] == boxes


def test_a_task_whose_new_image_cannot_be_had_is_not_taken_to_show_the_old_one(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    recorded = label_studio([task], {UPLOAD: PNG})
    reconcile(services, project)
    recorded.given[:] = [exchanged(task, "/data/b.png", labelled=True)]
    done = reconcile_changes(services, project, NEVER)
    assert done.without_image == {4: "GET /data/b.png: It is not there"}
    assert services.annotations.lacking_image(project) == {4}
    recorded.files = {"/data/b.png": encode_png(np.ones((30, 40), np.uint8))}
    assert fetch_images(services, project, {4}) == {}
    now = services.images.of_task(project, 4)
    assert now is not None
    assert now.width == 40


def test_an_image_in_a_storage_is_not_fetched_again_where_it_is_listed_otherwise_than_predicted(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    in_storage, listed, other = "s3://lab/a.png", "/tasks/4/resolve/?uri=a", "/data/b.png"
    recorded = label_studio([], {in_storage: PNG, other: encode_png(np.ones((30, 40), np.uint8))})
    stored_task_image(services, project, exchanged(task, in_storage, labelled=True), "image")
    addresses = (f"http://old:8080{listed}", f"https://lab.org/ls{listed}", other)
    for address, kept, width in zip(
        addresses, (listed, listed, other), (640, 640, 40), strict=True
    ):
        recorded.given[:] = [exchanged(task, address, labelled=True)]
        assert reconcile(services, project).unreadable == ()
        now = services.images.of_task(project, 4)
        assert now is not None
        assert (services.images.addresses(project), now.width) == ({4: kept}, width)


def test_a_task_that_names_its_raw_file_is_never_taken_for_the_image_that_browsers_are_shown(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    raw = services.images.keep(encode_png(np.zeros((48, 64), np.uint16)))
    given = [task | {"data": {"image": a, "sha256": raw}} for a in (UPLOAD, "/data/b.png")]
    recorded = label_studio(given[:1], {UPLOAD: PNG, "/data/b.png": PNG})
    reconcile(services, project)
    services.images.path(raw).unlink()
    recorded.given[:] = given[1:]
    reconcile(services, project)
    image = services.images.of_task(project, 4)
    assert image is not None
    assert image.sha256 == raw


def test_an_image_that_cannot_be_had_is_said_and_holds_up_nothing(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    empty = {**task, "id": 5, "data": {"image": "/data/empty.png"}, "annotations": []}
    empty["annotations"] = [{**task["annotations"][0], "id": 6}]
    label_studio([task, empty], {"/data/empty.png": b""})
    done = reconcile(services, project)
    assert services.annotations.known(project) == {5: 4, 6: 5}
    assert [reason.partition(":")[0] for reason in done.unreadable] == ["task 4", "task 5"]


def test_an_image_whose_address_is_none_is_said_and_holds_up_nothing(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    fetched = services.label_studio.download  # the real one, which is away
    odd = {**task, "id": 5, "data": {"image": "http://[x/y.png"}}
    odd["annotations"] = [{**task["annotations"][0], "id": 6}]
    label_studio([odd, task]).download = fetched
    done = reconcile(services, project)
    assert services.annotations.known(project) == {5: 4, 6: 5}
    assert [reason.partition(":")[0] for reason in done.unreadable] == ["task 5", "task 4"]


def test_with_label_studio_away_what_is_known_stays(
    services: Services, project: int, correct: Any
) -> None:
    correct(range(2))
    with pytest.raises(LabelStudioError, match="could not be reached"):
        reconcile(services, project)
    assert len(services.annotations.known(project)) == 2


def test_without_boxes_in_the_label_config_annotations_and_deletions_are_followed(
    services: Services, project: int, label_studio: Any, task: dict[str, Any], correct: Any
) -> None:
    correct([7])
    recorded = label_studio([task], {UPLOAD: PNG})
    recorded.described["label_config"] = "<View/>"
    done = reconcile(services, project)
    assert services.annotations.known(project) == {5: 4}
    (said,) = done.unreadable
    assert "draws no boxes on an image" in said
    assert "goes on with the one of before" in said


def test_a_task_with_a_number_that_label_studio_never_gives_is_forgotten_unasked(
    services: Services, project: int, label_studio: Any, task: dict[str, Any], add_image: Any
) -> None:
    add_image(-5, np.zeros((48, 64), np.uint8))
    recorded = label_studio([task], {UPLOAD: PNG})

    def asked(project: int, id: int) -> Any:
        raise LabelStudioError("GET /api/tasks: a 404 that is not its own")

    recorded.listed_task = asked
    reconcile(services, project)
    assert services.images.known_tasks(project) == {4}


def test_an_annotation_that_cannot_be_read_is_said_and_holds_up_no_other(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    task["annotations"].append({**task["annotations"][0], "id": 6, "result": ["x"]})
    label_studio([task], {UPLOAD: PNG})
    done = reconcile(services, project)
    assert services.annotations.known(project) == {5: 4}
    (said,) = done.unreadable
    assert said.startswith("task 4: annotation 6 left out: This is no annotation")


def test_a_known_correction_whose_newest_form_cannot_be_read_stays_as_it_was(
    services: Services, project: int, label_studio: Any, task: dict[str, Any]
) -> None:
    label_studio([task], {UPLOAD: PNG})
    reconcile(services, project)
    (before,) = services.annotations.corrected(project)
    task["annotations"][0] |= {"result": ["x"], "updated_at": "2026-12-01T00:00:00Z"}
    for look in (reconcile, partial(reconcile_changes, since=before.updated_at)):
        (said,) = look(services, project).unreadable
        assert said.startswith("task 4: annotation 5 left out")
        assert services.annotations.corrected(project) == [before]
    task["annotations"] = []
    reconcile(services, project)
    assert services.annotations.corrected(project) == []
