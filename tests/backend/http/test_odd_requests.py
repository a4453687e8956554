"""What no client of ours sends is refused in words, and fails nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.labelstudio.annotation import Annotation
from backend.services import Services

pytestmark = pytest.mark.usefixtures("label_studio_files", "project")
DEEP = "[" * 100_000


def test_a_password_of_odd_bytes_is_a_wrong_one(stranger: FlaskClient) -> None:
    answer = stranger.get("/runs", headers={"Authorization": "Basic \xff"})
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook", "/versions", "/job_status"])
def test_a_body_of_too_many_brackets_is_refused(client: FlaskClient, path: str) -> None:
    answer = client.post(path, data=DEEP, content_type="application/json")
    assert (answer.status_code, "nested too deep" in answer.json["error"]) == (400, True)


@pytest.mark.parametrize("body", ["1", '"x"', "[]"])
def test_versions_asked_for_by_no_object_are_refused(client: FlaskClient, body: str) -> None:
    answer = client.post("/versions", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["error"]) == (400, "The body is not a JSON object")


def test_versions_are_listed_without_a_body_too(client: FlaskClient) -> None:
    listed = client.post("/versions").json
    assert listed == client.get("/versions").json
    assert listed["versions"]


@pytest.mark.parametrize("number", [-5, 0, True, 2**31, "4"])
def test_a_task_whose_number_is_none_of_label_studio_s_is_refused(
    client: FlaskClient, payload: Any, number: Any
) -> None:
    body = payload("predict")
    body["tasks"][0]["id"] = number
    answer = client.post("/predict", json=body)
    assert (answer.status_code, "a number from 1 on" in answer.json["error"]) == (400, True)


@pytest.mark.parametrize("page", [float("inf"), float("nan"), 10**25, -1])
def test_an_odd_page_of_one_task_fails_no_other(
    client: FlaskClient, payload: Any, page: float
) -> None:
    body = payload("predict-batch")
    body["tasks"][0]["data"]["page"] = page
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200
    assert all(answer.json["results"][1:])


@pytest.mark.parametrize(
    "odd",
    [
        {"created_at": "2026-11-24T12:00:00"},
        {"updated_at": "0001-01-01T00:00:00+14:00"},
        {"updated_at": 5},
        {"lead_time": 10**400},
        {"id": 10**25},
        {"task": 2**31},
        {"result": ["x"]},
    ],
)
def test_an_event_with_an_odd_annotation_is_refused(
    client: FlaskClient, services: Services, payload: Any, odd: dict[str, Any]
) -> None:
    event = payload("ANNOTATION_CREATED-ui")
    event["annotation"] |= odd
    answer = client.post("/webhook", json=event)
    assert answer.status_code == 400
    assert "no annotation of Label Studio" in answer.json["error"]
    assert services.annotations.known(1) == {}


def test_a_moment_of_another_zone_is_the_same_moment(payload: Any) -> None:
    sent = payload("ANNOTATION_CREATED-ui")["annotation"]
    elsewhere = {**sent, "updated_at": "2026-11-24T15:25:00+01:00"}
    same = {**sent, "updated_at": "2026-11-24T14:25:00Z"}
    assert Annotation.from_label_studio(elsewhere, 1) == Annotation.from_label_studio(same, 1)


def test_an_event_of_a_project_that_draws_no_boxes_any_more_is_recorded(
    client: FlaskClient, services: Services, payload: Any
) -> None:
    event = payload("ANNOTATION_CREATED-ui")
    event["project"]["label_config"] = "<View/>"
    assert client.post("/webhook", json=event).json["recorded"] == 1
    assert services.projects.get(1).classes == ("Cell", "Debris")
    assert "draws no boxes" in client.get("/job_status").json["projects"][0]["problem"]
    event["project"]["id"] = 2
    assert client.post("/webhook", json=event).status_code == 400
