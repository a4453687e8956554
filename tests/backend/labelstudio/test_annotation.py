from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from backend.errors import BadRequest
from backend.labelstudio.annotation import Annotation


def test_a_recorded_webhook_is_read_as_it_was_sent(payload: Any) -> None:
    read = Annotation.from_label_studio(payload("ANNOTATION_CREATED-ui")["annotation"], 1)
    assert (read.id, read.project, read.task) == (5, 1, 4)
    assert read.result[0]["origin"] == "prediction-changed"
    assert read.created_at == datetime(2026, 11, 24, 14, 25, 6, 342933, UTC)
    assert (read.annotator, read.updated_by) == ("1", "1")
    assert (read.lead_time, read.parent_prediction) == (8.374, 8)
    assert not read.was_cancelled


def test_an_annotation_without_a_result_has_no_regions(payload: Any) -> None:
    values = payload("ANNOTATION_CREATED-ui")["annotation"] | {"result": None}
    assert Annotation.from_label_studio(values, 1).result == ()


def test_an_annotator_is_known_by_number_however_much_is_told(payload: Any) -> None:
    values = payload("ANNOTATION_CREATED")["annotation"]
    told = {"completed_by": {"id": 1, "email": "a@b.c"}, "updated_by": {"id": 2}}
    read = Annotation.from_label_studio({**values, **told}, 1)
    assert (read.annotator, read.updated_by) == ("1", "2")


@pytest.mark.parametrize(
    ("sent", "kept"), [(1.7e12, 1e7), (-3, 0.0), (float("nan"), None), (12, 12.0), (None, None)]
)
def test_a_time_is_one_that_can_be_reckoned_with(
    payload: Any, sent: float | None, kept: float | None
) -> None:
    values = payload("ANNOTATION_CREATED")["annotation"]
    assert Annotation.from_label_studio({**values, "lead_time": sent}, 1).lead_time == kept


def test_project_and_task_are_those_that_an_annotation_names_itself_else_those_it_was_told_of(
    payload: Any,
) -> None:
    values = payload("ANNOTATION_CREATED")["annotation"]
    bare = {name: value for name, value in values.items() if name not in ("project", "task")}
    for sent, expected in ((values, (1, values["task"])), (bare, (7, 8))):
        read = Annotation.from_label_studio(sent, 7, 8)
        assert (read.project, read.task) == expected


@pytest.mark.parametrize("told", [{"id": 1}, 10**25, 2**31 + 5, -1, "x", float("inf")])
def test_what_can_be_no_prediction_of_label_studio_s_is_none_to_begin_with(
    payload: Any, told: Any
) -> None:
    values = payload("ANNOTATION_CREATED-ui")["annotation"] | {"parent_prediction": told}
    assert Annotation.from_label_studio(values, 1).parent_prediction is None


@pytest.mark.parametrize("broken", [{}, {"id": "x"}, {"id": 1, "project": 1, "task": 1}])
def test_what_is_no_annotation_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="no annotation of Label Studio"):
        Annotation.from_label_studio(broken, 1)
