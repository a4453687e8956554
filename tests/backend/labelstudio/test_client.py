from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.errors import LabelStudioError, LabelStudioMissing, LabelStudioSilent
from backend.labelstudio.client import (
    GIVES_UP_AFTER,
    PAGE_SIZE,
    SECRET_HEADER,
    WEBHOOK_ACTIONS,
    LabelStudio,
)
from backend.labelstudio.connection import Connection

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Paged:
    """Answers as Label Studio does: there is no page after the last.

    Parameters
    ----------
    broken
        Tasks with which a page is answered with an error.
    """

    def __init__(self, tasks: int, missing_from: int = 1000, broken: Collection[int] = ()) -> None:
        self.tasks = [
            {"id": n, "updated_at": (NOW - timedelta(seconds=n)).isoformat()} for n in range(tasks)
        ]
        self.missing_from = missing_from
        self.broken = broken

    def json(self, method: str, path: str, params: dict[str, Any]) -> dict[str, Any]:
        size, page = params["page_size"], params["page"]
        start = (page - 1) * size
        if page > 1 and (start >= len(self.tasks) or page >= self.missing_from):
            raise LabelStudioMissing("Invalid page.")
        tasks = self.tasks[start : start + size]
        if any(task["id"] in self.broken for task in tasks):
            raise LabelStudioError(f"Label Studio answered 500: page {page} of {size}")
        return {"tasks": tasks, "total": len(self.tasks)}


class Keeping:
    """Keeps things of one kind as Label Studio does: lists, makes, changes and deletes them."""

    def __init__(self, *things: dict[str, Any]) -> None:
        self.things = {id: {"id": id, **thing} for id, thing in enumerate(things)}

    def json(self, method: str, path: str, **sent: Any) -> Any:
        if method == "GET":
            return list(self.things.values())
        id = len(self.things) if method == "POST" else int(path.rstrip("/").split("/")[-1])
        self.things[id] = self.things.get(id, {"id": id}) | sent["json"]
        return self.things[id]

    def request(self, method: str, path: str) -> None:
        assert method == "DELETE"
        del self.things[int(path.rstrip("/").split("/")[-1])]


def studio(answering: Any) -> LabelStudio:
    made = LabelStudio.__new__(LabelStudio)
    made._http = answering
    return made


@pytest.mark.parametrize(
    ("title", "given"),
    [("Red", "Red"), ("7 ", "Project 7 "), ("x" * 50, "x" * 50), ("x" * 51, "x" * 49 + "…")],
)
def test_a_new_project_has_a_title_of_a_length_that_label_studio_takes(
    title: str, given: str
) -> None:
    projects = Keeping()
    id = studio(projects).create_project(title, "<View/>", sampling="Uniform sampling")
    kept = {"title": given, "label_config": "<View/>", "sampling": "Uniform sampling"}
    assert projects.things[id] == {"id": id, **kept}


@pytest.mark.parametrize(
    ("before", "id"),
    [
        ({"title": "Cytoloop", "url": "http://moved:1"}, 1),
        ({"title": "mine", "url": "http://here:9090/"}, 1),
        ({"title": "SAM", "url": "http://there:9090"}, 2),
    ],
)
def test_a_project_is_connected_once_wherever_cytoloop_was_before(
    before: dict[str, Any], id: int
) -> None:
    other = {"title": "another", "url": "http://elsewhere:9090"}
    backends = Keeping(other, before)
    asked = studio(backends)
    for _ in range(2):
        assert asked.connect_backend(1, "http://here:9090", "user", "pass", "Cytoloop") == id
    assert backends.things[0] == {"id": 0, **other}
    assert len(backends.things) == id + 1
    made = backends.things[id]
    assert (made["url"], made["title"]) == ("http://here:9090", "Cytoloop")
    assert (made["basic_auth_user"], made["basic_auth_pass"]) == ("user", "pass")


class Uploading:
    """Takes an upload, and keeps the data of the task that is then made."""

    def __init__(self, path_for_browsers: str) -> None:
        self.path_for_browsers = path_for_browsers
        self.data: dict[str, Any] = {}

    def json(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
        if path == "/api/tasks/":
            self.data = sent["json"]["data"]
        return {"id": 4, "file_upload_ids": [3], "file": "upload/1/a1b2c3d4-a.png"}


@pytest.mark.parametrize("under", ["", "/lab"])
def test_an_imported_image_lies_where_browsers_reach_label_studio(under: str) -> None:
    uploads = Uploading(under)
    assert studio(uploads).import_task(1, b"pixels", "a.png", {"page": 0}) == 4
    assert uploads.data == {"image": f"{under}/data/upload/1/a1b2c3d4-a.png", "page": 0}


@pytest.mark.parametrize(
    ("url", "browser_url", "under"),
    [
        ("http://127.0.0.1:8080/", "", ""),
        ("https://lab.example.org/labels/", "", "/labels"),
        ("http://label-studio:8080", "https://lab.example.org/labels", "/labels"),
        ("http://here/labels", "https://labels.example.org", ""),
    ],
)
def test_browsers_load_images_under_the_path_of_their_own_address(
    url: str, browser_url: str, under: str
) -> None:
    assert Connection(url, "token", browser_url).path_for_browsers == under


def test_of_all_webhooks_to_cytoloop_one_is_left_and_has_the_secret() -> None:
    other = {"url": "http://elsewhere/webhook", "headers": {}}
    by_the_backend = {"url": "http://here/webhook/", "headers": {}}
    moved = {"url": "http://before/webhook", "headers": {SECRET_HEADER: "old"}}
    webhooks = Keeping(other, by_the_backend, moved)
    for _ in range(2):
        assert studio(webhooks).secure_webhooks(1, "http://here/webhook", "new") == 1
    assert webhooks.things.keys() == {0, 1}
    assert webhooks.things[0] == {"id": 0, **other}
    secured = webhooks.things[1]
    assert (secured["url"], secured["headers"]) == ("http://here/webhook", {SECRET_HEADER: "new"})
    assert (secured["actions"], secured["is_active"]) == (list(WEBHOOK_ACTIONS), True)
    alone = Keeping(other)
    assert studio(alone).secure_webhooks(1, "http://here/webhook", "new") == 1
    assert alone.things[1]["headers"] == {SECRET_HEADER: "new"}


@pytest.mark.parametrize("number", [0, 1, PAGE_SIZE, 2 * PAGE_SIZE, 201])
def test_all_tasks_are_read_however_they_fill_their_pages(number: int) -> None:
    asked = studio(Paged(number))
    assert [t["id"] for t in asked.tasks(1)] == list(range(number))
    assert [t["id"] for t in asked.changed_tasks(1, NOW - timedelta(1))] == list(range(number))


def test_of_what_changed_no_more_is_read_than_is_new() -> None:
    changed = studio(Paged(50)).changed_tasks(1, NOW - timedelta(seconds=29))
    assert [t["id"] for t in changed] == list(range(30))


def test_a_page_whose_tasks_were_deleted_meanwhile_is_the_end() -> None:
    asked = studio(Paged(3 * PAGE_SIZE, missing_from=3))
    assert len(list(asked.tasks(1))) == 2 * PAGE_SIZE


def test_a_changed_task_that_cannot_be_listed_is_told_whatever_comes_after_it() -> None:
    told = list[LabelStudioError]()
    changed = studio(Paged(3, broken={1})).changed_tasks(1, NOW - timedelta(1), told.append)
    assert next(changed)["id"] == 0
    next(changed)
    assert len(told) == 1


@pytest.mark.parametrize("number", [1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE, 201])
def test_a_task_that_cannot_be_listed_is_told_and_keeps_back_no_other(number: int) -> None:
    broken, told = {0, PAGE_SIZE - 1, number - 1}, list[LabelStudioError]()
    asked = studio(Paged(number, broken=broken))
    assert [t["id"] for t in asked.tasks(1, told.append)] == sorted({*range(number)} - broken)
    assert len(told) == len(broken & {*range(number)})
    changed = asked.changed_tasks(1, NOW - timedelta(1), told.append)
    assert [t["id"] for t in changed] == sorted({*range(number)} - broken)


def test_a_page_of_which_the_first_tasks_cannot_be_listed_ends_the_list() -> None:
    told = list[LabelStudioError]()
    asked = studio(Paged(50, broken=range(PAGE_SIZE, 2 * PAGE_SIZE)))
    with pytest.raises(LabelStudioError, match=f"page {PAGE_SIZE + GIVES_UP_AFTER} of 1$"):
        list(asked.tasks(1, told.append))
    assert len(told) == GIVES_UP_AFTER - 1
    with pytest.raises(LabelStudioError, match=f"page 2 of {PAGE_SIZE}$"):
        list(asked.tasks(1))


def test_a_page_of_which_one_task_can_be_listed_is_read_to_its_end() -> None:
    told = list[LabelStudioError]()
    asked = studio(Paged(2 * PAGE_SIZE, broken=range(1, PAGE_SIZE)))
    listed = [t["id"] for t in asked.tasks(1, told.append)]
    assert listed == [0, *range(PAGE_SIZE, 2 * PAGE_SIZE)]
    assert len(told) == PAGE_SIZE - 1


@pytest.mark.parametrize("silent_from", [1, 3])
def test_a_label_studio_that_falls_silent_is_not_asked_for_one_task_after_the_other(
    silent_from: int,
) -> None:
    class Silenced(Paged):
        asked = 0

        def json(self, method: str, path: str, params: dict[str, Any]) -> dict[str, Any]:
            self.asked += 1
            if self.asked >= silent_from:
                raise LabelStudioSilent("Label Studio could not be reached")
            return super().json(method, path, params)

    told, silenced = list[LabelStudioError](), Silenced(PAGE_SIZE, broken={5})
    with pytest.raises(LabelStudioSilent):
        list(studio(silenced).tasks(1, told.append))
    assert (silenced.asked, told) == (silent_from, [])


def test_the_newest_change_of_a_project_without_tasks_is_none() -> None:
    assert studio(Paged(0)).newest_change(1) is None
    assert studio(Paged(3)).newest_change(1) == NOW


def test_where_the_newest_task_cannot_be_listed_the_next_tells_the_newest_change() -> None:
    assert studio(Paged(30, broken=range(2))).newest_change(1) == NOW - timedelta(seconds=2)
    assert studio(Paged(1, broken=range(1))).newest_change(1) is None
    with pytest.raises(LabelStudioError, match="answered 500"):
        studio(Paged(30, broken=range(30))).newest_change(1)
