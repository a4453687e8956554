from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from backend import metrics
from backend.http.parts import EXTENSION
from backend.labelstudio.client import SECRET_HEADER
from backend.services import Services
from model.judging.policy import Policy
from model.keeping.starter import STARTER_ID
from tests.backend.conftest import no_room

pytestmark = pytest.mark.usefixtures("label_studio_files")


def test_health_is_open_to_all(stranger: FlaskClient) -> None:
    answer = stranger.get("/health")

    assert (answer.status_code, answer.json["status"]) == (200, "UP")


def test_setup_names_the_version_that_predict_signs_with(client: FlaskClient, payload: Any) -> None:
    named = client.post("/setup", json=payload("setup")).json["model_version"]
    answer = client.post("/predict", json=payload("predict")).json

    assert named == "classical-1+t0.5"
    assert answer["model_version"] == named
    assert [result["model_version"] for result in answer["results"]] == [named]
    for asked in ("/setup", {"project": "1.2"}), ("/predict", {"project": "1.2", "tasks": []}):
        assert client.post(asked[0], json=asked[1]).json["model_version"] == named


def test_a_task_without_an_image_takes_no_answer_from_the_others(
    client: FlaskClient, payload: Any
) -> None:
    body = payload("predict")
    lost = {"id": 99, "data": {}}

    answer = client.post("/predict", json=body | {"tasks": [lost, *body["tasks"]]}).json

    assert answer["results"][0] == []
    assert [result["model_version"] for result in answer["results"][1:]] == ["classical-1+t0.5"]
    assert answer["model_version"] == "classical-1+t0.5"


def test_each_recorded_predict_is_answered_task_by_task(client: FlaskClient, payload: Any) -> None:
    for name in ("predict", "predict-on-task-open", "predict-batch"):
        body = payload(name)

        results = client.post("/predict", json=body).json["results"]

        assert len(results) == len(body["tasks"])
        assert all(len(result["result"]) == 2 for result in results)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/setup", None, "no body"),
        ("/setup", "{broken", "not a JSON object"),
        ("/setup", "[1]", "not a JSON object"),
        ("/setup", "{}", '"project"'),
        ("/setup", '{"project": "1.2", "schema": "<View/>"}', "RectangleLabels"),
        ("/predict", '{"project": "1.2", "tasks": {}}', "tasks"),
        ("/predict", '{"project": "x", "tasks": []}', '"project"'),
        ("/train", '{"project": "-"}', '"project"'),
        ("/job_status", '{"job": "x"}', '"job"'),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_request_that_cannot_be_used_says_why(
    client: FlaskClient, path: str, body: str | None, said: str
) -> None:
    answer = client.post(path, data=body, content_type="application/json")

    assert answer.status_code == 400
    assert said in answer.json["error"]


def test_what_is_not_there_is_404(client: FlaskClient) -> None:
    for path in ("/job_status?project=99", "/projects/99/export/voc", "/nowhere"):
        assert client.get(path).status_code == 404
    predict = {"project": "99.1", "tasks": []}
    assert client.post("/predict", json=predict).status_code == 404
    for job in ("99", str(2**31 - 1)):
        assert client.post("/job_status", json={"job": job}).status_code == 404


def test_an_error_inside_is_an_answer_without_its_inside(client: FlaskClient) -> None:
    client.application.extensions[EXTENSION].services.projects.all = None
    try:
        answer = client.get("/job_status")
    finally:
        del client.application.extensions[EXTENSION].services.projects.all

    assert answer.status_code == 500
    assert "log" in answer.json["error"]
    assert "NoneType" not in answer.json["error"]


def test_a_disk_without_room_for_the_database_is_said(client: FlaskClient, project: int) -> None:
    with no_room():
        answer = client.post("/train", json={"project": project})

    assert answer.status_code == 500
    assert answer.json["error"].startswith("The database cannot be read or written (")
    assert "make room on it" in answer.json["error"]


def test_a_database_that_another_process_holds_is_to_be_asked_again(
    client: FlaskClient, services: Services, project: int
) -> None:
    with services.engine.connect() as idle:
        idle.exec_driver_sql("PRAGMA busy_timeout = 1")  # of the one connection that waits its turn
    with closing(sqlite3.connect(services.settings.database_file)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = client.post("/train", json={"project": project})

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "Another process holds it" in answer.json["error"]


def test_versions_are_listed_by_the_names_they_are_served_with(
    client: FlaskClient, services: Services
) -> None:
    first, second = client.get("/versions").json["versions"]
    assert first == "classical-1+t0.5"
    assert second.startswith(f"{STARTER_ID}+t")
    asked = client.post("/versions", json={"project": "1.2"})
    assert asked.json == {"versions": [first, second]}
    classical, _ = services.registry.list()
    services.registry.set_policy("1", classical, lambda _: Policy(0.4, 0.2))
    own = services.registry.served_name("1")
    assert own != first
    for asked in (
        client.post("/versions", json={"project": "1.2"}),
        client.get("/versions", query_string={"project": "1"}),
    ):
        assert asked.json == {"versions": [own, second]}
    assert client.get("/versions").json == {"versions": [first, second]}


def test_train_opens_a_run_whose_progress_can_be_asked(
    client: FlaskClient, services: Services, project: int
) -> None:
    opened = client.post("/train", json={"project": "1.1795529967"})
    again = client.post("/train", json={"project": {"id": 1}})

    assert opened.status_code == 201
    assert again.json["job"] == opened.json["job"]
    services.runs.start(int(opened.json["job"]))
    services.runs.progress(int(opened.json["job"]), stage="training", fraction=0.25, ap50=0.7)
    run = client.post("/job_status", json={"job": opened.json["job"]}).json
    assert (run["state"], run["stage"], run["fraction"]) == ("running", "training", 0.25)
    assert run["ap50"] == 0.7
    (status,) = client.get("/job_status").json["projects"]
    assert status["run"] == run
    assert (status["corrected"], status["next_milestone"]) == (0, 5)


def test_metrics_tell_what_was_served(client: FlaskClient, payload: Any) -> None:
    def seconds(of: str) -> float:
        return REGISTRY.get_sample_value(f"cytoloop_predict_seconds_{of}") or 0.0

    metrics.LOADED_VERSION.labels("1", "served-before+t0.5").set(1)
    number, in_all = seconds("count"), seconds("sum")
    client.post("/predict", json=payload("predict"))

    answer = client.get("/metrics")

    assert answer.content_type.startswith("text/plain; version=")
    assert 'cytoloop_loaded_version{project="1",version="classical-1+t0.5"} 1.0' in answer.text
    assert "served-before" not in answer.text
    assert f"cytoloop_predict_seconds_count {number + 1}" in answer.text
    assert 0 < seconds("sum") - in_all < 60


GUARDED = [
    ("POST", "/setup"),
    ("POST", "/predict"),
    ("POST", "/train"),
    ("GET", "/versions"),
    ("GET", "/job_status"),
    ("GET", "/metrics"),
    ("GET", "/"),
    ("GET", "/projects/1/export/voc"),
    ("GET", "/projects/1/export/counts"),
    ("GET", "/projects/1/effort"),
    ("GET", "/runs"),
    ("GET", "/runs/1"),
    ("POST", "/runs/1/cancel"),
    ("POST", "/runs/1/retry"),
    ("POST", "/webhook"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("auth", [None, ("cytoloop", "wrong"), ("cytoloop", ""), ("other", "")])
def test_without_the_password_nothing_is_told(
    stranger: FlaskClient, services: Services, method: str, path: str, auth: Any
) -> None:
    answer = stranger.open(path, method=method, json={}, auth=auth)

    assert answer.status_code == 401
    assert "credentials.json" in answer.json["error"]
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert services.credentials.backend_password not in answer.text
    assert str(services.settings.home) not in answer.text


def test_the_password_opens_nothing_to_another_user(
    stranger: FlaskClient, services: Services
) -> None:
    password = services.credentials.backend_password
    answers = [stranger.get("/runs", auth=(user, password)) for user in ("other", "cytoloop")]
    assert [answer.status_code for answer in answers] == [401, 200]


def test_an_emptied_password_or_secret_opens_nothing(
    stranger: FlaskClient, services: Services
) -> None:
    emptied = replace(services.credentials, backend_password="", webhook_secret="")
    services.__dict__["credentials"] = emptied
    assert stranger.get("/runs", auth=("cytoloop", "")).status_code == 401
    assert stranger.post("/webhook", json={}, headers={SECRET_HEADER: ""}).status_code == 401


OTHERS = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:8080"},
    {"Origin": "https://elsewhere.example"},
    {"Origin": "http://localhost:8080"},
    {"Origin": "null"},
]
OURS = [
    {},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost"},
]


@pytest.mark.parametrize("headers", OTHERS)
@pytest.mark.parametrize("path", [path for method, path in GUARDED if method == "POST"])
def test_a_page_of_another_site_changes_nothing_with_the_password_that_a_browser_keeps(
    client: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    answer = client.post(path, data="{}", content_type="text/plain", headers=headers)

    assert answer.status_code == 403
    assert "Ask from a script or a terminal" in answer.json["error"]


@pytest.mark.parametrize("headers", OURS)
def test_what_our_own_page_a_script_or_label_studio_asks_goes_through(
    client: FlaskClient, project: int, headers: dict[str, str]
) -> None:
    assert client.post("/train", json={"project": "1.2"}, headers=headers).status_code == 201


@pytest.mark.parametrize("headers", [*OTHERS, *OURS])
def test_a_link_from_anywhere_shows_the_dashboard(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    assert client.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize("odd", ["²", "-1", str(2**31), str(9**30), "9" * 5000])
def test_a_number_that_is_none_of_ours_is_refused(
    client: FlaskClient, project: int, odd: str
) -> None:
    event = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": odd}]}
    answers = [
        client.post("/job_status", json={"job": odd}),
        client.post("/train", json={"project": odd}),
        client.get("/runs", query_string={"project": odd}),
        client.get("/job_status", query_string={"project": odd}),
        client.post("/webhook", json=event | {"project": {"id": project}}),
        client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": odd}}),
    ]
    assert [answer.status_code for answer in answers] == [400] * len(answers)
    for answer in answers:
        assert repr(odd)[:40] + ", not a whole number below" in answer.json["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/runs/{}",
        "/projects/{}/effort",
        "/projects/{}/export/voc",
        "/projects/{}/export/counts",
        f"/images/{{}}/{'a' * 64}/matched.png",
        f"/images/1/{'a' * 64}/matched.png?page={{}}",
    ],
)
def test_an_address_of_a_number_that_is_none_of_ours_is_refused(
    client: FlaskClient, path: str
) -> None:
    assert client.get(path.format(2**31)).status_code == 400
    assert client.get(path.format(9**30)).status_code == 400
    if "?" in path:
        assert client.get(path.format("abc")).status_code == 400


def test_a_task_of_a_number_that_is_none_of_ours_is_refused(
    client: FlaskClient, payload: Any
) -> None:
    body = payload("predict")
    body["tasks"][0]["id"] = 9**30
    assert client.post("/predict", json=body).status_code == 400


def test_every_door_but_health_and_static_files_is_guarded(client: FlaskClient) -> None:
    open_doors = {"/health", "/static/<path:filename>"}
    rules = {
        re.sub("<int:(project_id|number)>", "1", rule.rule)
        for rule in client.application.url_map.iter_rules()
    }

    signed = {"/images/1/<sha256>/matched.png"}  # guarded by its signature: see test_matched.py
    assert rules - open_doors - signed == {path for _, path in GUARDED}


def test_bodies_with_tokens_never_reach_the_log(
    client: FlaskClient, payload: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    body = payload("setup") | {"access_token": "a-real-token"}
    event = payload("ANNOTATION_CREATED")
    event["project"]["token"] = "a-real-token"

    client.post("/setup", json=body)
    client.post("/webhook", json=event)
    client.post("/webhook", json=event | {"action": "NONSENSE"})

    said = capsys.readouterr()
    assert "a-real-token" not in said.out + said.err
    assert "a-real-token" not in json.dumps(client.get("/job_status").json)
