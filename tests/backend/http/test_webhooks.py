from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from backend.labelstudio.client import SECRET_HEADER
from backend.learning.triggers import take_up_lost
from backend.services import Services
from tests.backend.conftest import CREDENTIALS, show_images


def created(payload: Any, id: int, task: int) -> dict[str, Any]:
    """Return the event of another annotation, of another task."""
    event = payload("ANNOTATION_CREATED-ui")
    event["annotation"] |= {"id": id, "task": task}
    return dict(event)


@pytest.fixture
def shown(services: Services, project: int) -> None:
    """Images of five tasks."""
    show_images(services.images, project, range(1, 6))


def test_a_submit_is_recorded_with_its_project(
    client: FlaskClient, services: Services, payload: Any
) -> None:
    answer = client.post("/webhook", json=payload("ANNOTATION_CREATED-ui"))

    assert (answer.status_code, answer.json["recorded"]) == (200, 1)
    (kept,) = services.annotations.corrected(1)
    assert (kept.id, kept.task, kept.lead_time, kept.parent_prediction) == (5, 4, 8.374, 8)
    assert kept.result[0]["origin"] == "prediction-changed"
    assert services.projects.get(1).title == "proj1"
    assert services.projects.get(1).classes == ("Cell", "Debris")


def test_an_event_that_does_not_tell_the_title_leaves_the_one_that_is_known(
    client: FlaskClient, services: Services, payload: Any
) -> None:
    event = payload("ANNOTATION_CREATED-ui")
    client.post("/webhook", json=event)
    del event["project"]["title"]
    client.post("/webhook", json=event)
    assert services.projects.get(1).title == "proj1"


def test_an_update_replaces_and_events_doubled_or_late_change_nothing(
    client: FlaskClient, services: Services, payload: Any
) -> None:
    events = ["ANNOTATION_CREATED-ui", "ANNOTATION_UPDATED-ui"]
    events += ["ANNOTATION_UPDATED-ui", "ANNOTATION_CREATED-ui"]

    recorded = [client.post("/webhook", json=payload(e)).json["recorded"] for e in events]

    assert recorded == [1, 1, 0, 0]
    (kept,) = services.annotations.corrected(1)
    assert len(kept.result) == 2


def test_a_skipped_task_is_recorded_and_does_not_count(
    client: FlaskClient, services: Services, payload: Any
) -> None:
    answer = client.post("/webhook", json=payload("ANNOTATION_CREATED-cancelled"))

    assert answer.json["recorded"] == 1
    assert services.annotations.corrected(1) == []


def test_deleted_annotations_stay_deleted(
    client: FlaskClient, services: Services, payload: Any
) -> None:
    event = created(payload, id=2, task=7)
    client.post("/webhook", json=event)

    deleted = client.post("/webhook", json=payload("ANNOTATIONS_DELETED"))
    again = client.post("/webhook", json=event)

    assert (deleted.json, again.json["recorded"]) == ({"deleted": 1}, 0)
    assert services.annotations.corrected(1) == []


def test_many_annotations_of_one_event_are_all_recorded(
    client: FlaskClient, services: Services, payload: Any
) -> None:
    several = [created(payload, id, task)["annotation"] for id, task in ((1, 1), (2, 2), (3, 3))]
    event = payload("ANNOTATION_CREATED") | {"action": "ANNOTATIONS_CREATED"}
    del event["annotation"]

    answer = client.post("/webhook", json=event | {"annotations": several})

    assert answer.json["recorded"] == 3
    assert len(services.annotations.corrected(1)) == 3


def test_the_fifth_correction_opens_one_run_however_often_it_is_told(
    client: FlaskClient, services: Services, payload: Any, shown: None
) -> None:
    jobs = []
    for id in (1, 2, 3, 4, 5, 5, 5):
        jobs.append(client.post("/webhook", json=created(payload, id, id)).json.get("job"))

    assert [bool(job) for job in jobs] == [False] * 4 + [True, False, False]
    (run,) = services.runs.all(1)
    assert (run.milestone, run.trigger, str(run.id)) == (5, "milestone", jobs[4])


def test_corrections_of_images_that_have_not_come_open_no_run_until_these_have(
    client: FlaskClient, services: Services, payload: Any, project: int
) -> None:
    show_images(services.images, project, range(1, 5))
    events = [created(payload, id, id) for id in range(1, 6)]
    assert not any("job" in client.post("/webhook", json=event).json for event in events)
    show_images(services.images, project, [5])
    assert client.post("/webhook", json=events[4]).json["job"]


def test_the_button_opens_a_run_at_once_and_a_second_press_finds_it(
    client: FlaskClient, services: Services, payload: Any
) -> None:
    jobs = [client.post("/webhook", json=payload("START_TRAINING")).json["job"] for _ in range(2)]

    (run,) = services.runs.all(1)
    assert jobs == [str(run.id)] * 2
    assert run.trigger == "button"


def test_with_redis_away_the_correction_and_its_run_are_kept(
    client: FlaskClient, services: Services, payload: Any, shown: None
) -> None:
    services.__dict__["queue"] = type(services.queue)("unix:///nowhere/redis.sock", 60, "")

    answers = [client.post("/webhook", json=created(payload, id, id)) for id in range(1, 6)]
    button = client.post("/webhook", json=payload("START_TRAINING"))

    assert [answer.status_code for answer in answers] == [200] * 5
    assert "waiting" in answers[-1].json
    assert len(services.annotations.corrected(1)) == 5
    assert [run.state for run in services.runs.all(1)] == ["queued"]
    assert button.status_code == 200
    assert "Redis" in button.json["waiting"]


def test_a_webhook_does_not_wait_for_a_killed_process_and_the_next_look_queues_its_run(
    client: FlaskClient, services: Services, payload: Any, shown: None
) -> None:
    with Redis.from_url(services.settings.redis_address) as connection:
        connection.set(f"cytoloop:jobs:{CREDENTIALS.home_id}", "of a killed process", ex=60)
        answers = [client.post("/webhook", json=created(payload, id, id)) for id in range(1, 6)]
        connection.delete(f"cytoloop:jobs:{CREDENTIALS.home_id}")

    assert [answer.status_code for answer in answers] == [200] * 5
    assert "Another process" in answers[-1].json["waiting"]
    (run,) = services.runs.all(1)
    assert not services.queue.is_live(run.id)
    take_up_lost(services)
    assert services.queue.is_live(run.id)


def test_a_changed_label_config_arrives_with_the_next_event(
    client: FlaskClient, services: Services, payload: Any
) -> None:
    event = payload("START_TRAINING") | {"action": "PROJECT_UPDATED"}
    event["project"]["label_config"] = event["project"]["label_config"].replace("Debris", "Dust")

    assert client.post("/webhook", json=event).status_code == 200

    assert services.projects.get(1).classes == ("Cell", "Dust")


@pytest.mark.parametrize("action", ["TASKS_CREATED", "TASKS_DELETED", "PROJECT_CREATED"])
def test_what_teaches_nothing_is_ignored_and_said_so(client: FlaskClient, action: str) -> None:
    answer = client.post("/webhook", json={"action": action})

    assert answer.status_code == 200
    assert action in answer.json["ignored"]


def without(event: dict[str, Any], *path: str) -> dict[str, Any]:
    *outer, last = path
    inner = event
    for key in outer:
        inner = inner[key]
    del inner[last]
    return event


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda event: event | {"action": "SOMETHING_NEW"}, "SOMETHING_NEW"),
        (lambda event: event | {"action": ["x"]}, "action"),
        (lambda event: without(event, "action"), "action"),
        (lambda event: without(event, "project"), "no project"),
        (lambda event: without(event, "annotation"), "no annotation"),
        (lambda event: event | {"annotation": []}, "no annotation"),
        (lambda event: event | {"annotation": "x"}, "no annotation"),
        (lambda event: event | {"annotation": [event["annotation"], "x"]}, "no annotation"),
        (lambda event: without(event, "annotation", "id"), "no annotation of Label Studio"),
        (lambda event: without(event, "annotation", "updated_at"), "updated_at"),
        (lambda event: event | {"action": "ANNOTATIONS_DELETED", "annotation": {}}, '"id" is None'),
    ],
)
def test_an_event_that_cannot_be_used_is_refused_and_loses_nothing(
    client: FlaskClient, services: Services, payload: Any, broken: Any, said: str
) -> None:
    client.post("/webhook", json=payload("ANNOTATION_CREATED-ui"))

    answer = client.post("/webhook", json=broken(payload("ANNOTATION_UPDATED-ui")))

    assert answer.status_code == 400
    assert said in answer.json["error"]
    assert len(services.annotations.corrected(1)) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_body_that_is_no_event_is_refused(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/webhook", data=body, content_type="application/json")

    assert answer.status_code == 400
    assert answer.json["error"]


def test_an_event_needs_the_secret_header_or_the_password(
    stranger: FlaskClient, services: Services, payload: Any
) -> None:
    event, secrets = payload("ANNOTATION_CREATED"), services.credentials
    wrong = stranger.post("/webhook", json=event, headers={SECRET_HEADER: "guessed"})
    by_header = stranger.post(
        "/webhook", json=event, headers={SECRET_HEADER: secrets.webhook_secret}
    )
    by_password = stranger.post(
        "/webhook", json=payload("START_TRAINING"), auth=("cytoloop", secrets.backend_password)
    )

    assert (wrong.status_code, by_header.status_code, by_password.status_code) == (401, 200, 200)
    assert SECRET_HEADER in wrong.json["error"]
