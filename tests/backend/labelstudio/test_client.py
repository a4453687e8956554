from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.errors import LabelStudioError, LabelStudioMissing
from backend.labelstudio.client import GIVES_UP_AFTER, PAGE_SIZE, LabelStudio

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


def studio(paged: Paged) -> LabelStudio:
    made = LabelStudio.__new__(LabelStudio)
    made._http = paged  # type: ignore[assignment]
    return made


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


def test_the_newest_change_of_a_project_without_tasks_is_none() -> None:
    assert studio(Paged(0)).newest_change(1) is None
    assert studio(Paged(3)).newest_change(1) == NOW


def test_where_the_newest_task_cannot_be_listed_the_next_tells_the_newest_change() -> None:
    assert studio(Paged(30, broken=range(2))).newest_change(1) == NOW - timedelta(seconds=2)
    assert studio(Paged(1, broken=range(1))).newest_change(1) is None
    with pytest.raises(LabelStudioError, match="answered 500"):
        studio(Paged(30, broken=range(30))).newest_change(1)
