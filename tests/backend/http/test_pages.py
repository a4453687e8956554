from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient

from backend.app import create_app
from backend.effort.measuring import measure
from backend.http.parts import EXTENSION
from backend.labelstudio.annotation import Annotation
from backend.running.status import status_of
from backend.services import Services, build_services
from backend.settings import Settings
from backend.store.predictions import StoredPrediction
from model.classical.detector import CLASSICAL_ID
from model.keeping.champions import Champions
from model.keeping.starter import STARTER_ID
from model.reports import AveragePrecision, CountReport
from model.versions import GateDecision, ModelVersion
from model.wording import limits_in_words
from preprocessing.groups import ContrastGroups
from tests.backend.conftest import LABEL_CONFIG, asked_of, show_images
from tests.backend.judged import report_of

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def submitted(client: FlaskClient, payload: Any, label_studio_files: None) -> None:
    """Task 4 was shown two boxes, and came back with one and one more."""
    client.post("/predict", json=payload("predict-on-task-open"))
    client.post("/webhook", json=payload("ANNOTATION_UPDATED-ui"))


def test_the_dashboard_of_a_new_installation_says_how_to_begin(client: FlaskClient) -> None:
    page = client.get("/").text

    assert "No project yet" in page
    assert "cytoloop import" in page


def test_the_dashboard_says_how_a_project_stands(
    client: FlaskClient, services: Services, submitted: None
) -> None:
    page = client.get("/").text

    assert "proj1" in page
    assert 'href="http://127.0.0.1:9/projects/1/data"' in page
    assert "Classical detector" in page
    assert '<b data-of="corrected">1</b>' in page
    assert '<span data-of="of_seen">of 1 image seen so far</span>' in page
    assert '<b data-of="next_milestone">5</b>' in page
    assert "/projects/1/export/voc" in page
    assert "classical-1+t0.5" in page


def test_of_an_attached_project_a_correction_whose_image_has_not_come_is_not_told_as_an_image(
    client: FlaskClient, services: Services, project: int
) -> None:
    services.annotations.record(Annotation(1, project, 1, (), NOW, NOW))
    page = client.get("/").text
    assert '<b data-of="corrected">0</b>' in page
    assert '<span data-of="of_seen"></span>' in page


def test_dashboard_and_status_name_one_next_milestone_also_after_corrections_were_deleted(
    client: FlaskClient, services: Services, project: int
) -> None:
    show_images(services.images, project, range(1, 6))
    for id in range(1, 6):
        services.annotations.record(Annotation(id, project, id, (), NOW, NOW))
    services.runs.open(project, 5, "milestone")
    services.annotations.delete(project, [4, 5])

    (told,) = status_of(services).projects
    assert (told.corrected, told.next_milestone) == (3, 10)
    assert '<b data-of="next_milestone">10</b>' in client.get("/").text


def test_of_many_projects_the_newest_are_loaded_and_an_open_dashboard_changes_nothing(
    services: Services,
) -> None:
    for id in range(1, 8):
        services.projects.ensure(id, f"proj{id}", LABEL_CONFIG)
    app = create_app(services)
    slot = app.extensions[EXTENSION].slot
    for id in range(4, 8):
        slot.current(str(id), wait_s=10)
    loaded = list(slot.loaded_names())

    auth = services.settings.backend_user, services.credentials.backend_password
    for _ in range(2):
        assert app.test_client().get("/", auth=auth).text.count("classical-1+t0.5") == 7
    slot.close()

    assert loaded == ["4", "5", "6", "7"]
    assert list(slot.loaded_names()) == loaded


def test_the_dashboard_calls_the_starter_by_its_name(settings: Settings) -> None:
    services = build_services(settings.model_copy(update={"first_version": STARTER_ID}))
    services.projects.ensure(1, "proj1", LABEL_CONFIG)
    app = create_app(services)
    password = services.credentials.backend_password

    page = app.test_client().get("/", auth=(services.settings.backend_user, password)).text
    app.extensions[EXTENSION].slot.close()
    services.engine.dispose()

    assert "<b>Starter</b>" in page
    assert "nothing was learned here yet" in page


def test_a_starter_that_serves_again_does_not_say_that_nothing_was_learned(
    client: FlaskClient, services: Services, project: int
) -> None:
    services.registry.promote(str(project), STARTER_ID)
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    services.runs.start(run.id)
    services.runs.finish(run.id, "promoted", candidate="trained-1")

    page = client.get("/").text

    assert "<b>Starter</b>" in page
    assert "nothing was learned" not in page


def test_what_serves_in_the_place_of_a_champion_that_cannot_be_loaded_is_named(
    app: Flask, client: FlaskClient, services: Services, project: int
) -> None:
    Champions(services.registry.root / "champions", CLASSICAL_ID).promote(str(project), "gone")
    app.extensions[EXTENSION].slot.current(str(project), wait_s=10)

    page = client.get("/").text

    assert "The champion could not be loaded, so classical-1+t0.5 serves" in page


def test_the_dashboard_tells_decisions_in_words_and_escapes_what_others_wrote(
    client: FlaskClient, services: Services, project: int
) -> None:
    services.projects.ensure(1, "<script>alert(1)</script>", services.projects.get(1).label_config)
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    services.runs.start(run.id)
    decision = GateDecision(False, ("AP50 0.41 is below the champion's 0.62",))
    services.runs.finish(run.id, "refused", "kept the champion", decision)

    page = client.get("/").text

    assert "AP50 0.41 is below the champion&#39;s 0.62" in page
    assert "refused" in page
    assert "<script>alert" not in page


def test_the_dashboard_says_of_how_many_corrected_images_a_run_learned_as_status_does(
    client: FlaskClient, services: Services, project: int
) -> None:
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    services.runs.start(run.id)
    services.runs.freeze(run.id, "ab" * 32, 65, [])
    services.runs.finish(run.id, "promoted")
    assert "At 65 corrected" in client.get("/").text


def test_decisions_come_as_they_were_made_and_runs_that_were_taken_along_hide_none(
    client: FlaskClient, services: Services, project: int
) -> None:
    runs = services.runs
    first, second, *_ = (runs.open(project, m, "milestone") for m in (5, 10, 20, 40, 80, 130, 180))
    assert first is not None
    assert second is not None
    runs.start(first.id)
    runs.freeze(first.id, "ab" * 32, 5, [])
    runs.start(second.id)
    runs.freeze(second.id, "cd" * 32, 200, [])
    runs.finish(second.id, "refused", decision=GateDecision(False, ("the second was worse",)))
    before = shown(client)
    runs.finish(first.id, "promoted", decision=GateDecision(True, ("the first is better",)))

    page = client.get("/").text

    assert page.index("the first is better") < page.index("the second was worse")
    assert "covered" not in page
    assert shown(client) != before
    last = client.get("/job_status").json["projects"][0]["last"]
    assert (last["job"], last["state"]) == (str(first.id), "promoted")


def test_an_open_dashboard_goes_through_neither_images_nor_predictions_nor_all_runs(
    client: FlaskClient, services: Services, project: int
) -> None:
    with asked_of(services.engine) as statements:
        client.get("/job_status")
    whole = ("SELECT images.", "SELECT DISTINCT predictions.", "SELECT annotations.")
    assert [each for each in statements if each.startswith(whole)] == []
    runs = [each for each in statements if "runs.decision" in each]
    assert len(runs) == 2
    assert all("LIMIT" in each or "runs.state IN" in each for each in runs)
    count = "SELECT count(DISTINCT tasks.image)"
    assert len([s for s in statements if s.startswith(count) and "FROM annotations" in s]) == 1


def test_an_open_dashboard_notices_another_champion(
    client: FlaskClient, services: Services, project: int
) -> None:
    before = shown(client)
    assert shown(client) == before
    services.registry.promote(str(project), STARTER_ID)
    assert shown(client) != before


def test_the_champion_is_shown_with_what_it_was_worth_on_held_out_images(
    client: FlaskClient, services: Services, project: int
) -> None:
    figures = AveragePrecision(0.871, 0.6, 0.5)
    counts = CountReport(100, 93, 0.094, -0.07, 0.05)
    report = replace(report_of(((3, 3),) * 12), any_class=figures, count=counts)
    made = ModelVersion("trained-1", "trained", ("Nucleus",), 0.5, report=report)
    services.registry.add(made, ContrastGroups.none(), None)
    services.registry.promote(str(project), made.id)
    words = " ".join(client.get("/").text.split())
    assert "AP50 0.87, counts off by 9 % on 12 held-out images" in words


def shown(client: FlaskClient) -> Any:
    """Return what makes an open dashboard load itself anew when it changes."""
    return [project["shown"] for project in client.get("/job_status").json["projects"]]


def test_a_limit_that_was_reached_is_told_until_the_image_is_corrected_or_gone(
    client: FlaskClient, services: Services, project: int
) -> None:
    for task in (1, 2, 3):
        sha256 = f"{task:064x}"
        services.images.add(project, sha256, 0, f"{task}.png", 64, 48)
        services.images.attach_task(project, sha256, 0, task)
        flags = limits_in_words(("detections_per_image",))
        services.predictions.put(
            StoredPrediction(project, task, sha256, 0, "classical-1+t0.5", [], flags=flags)
        )
    services.images.attach_task(project, f"{2:064x}", 0, 4)

    assert "In 3 images the limit" in client.get("/").text
    services.images.forget_tasks(project, [1])
    assert "In 2 images the limit" in client.get("/").text
    for id, task in enumerate((3, 4), start=1):
        services.annotations.record(Annotation(id, project, task, (), NOW, NOW))
    assert "the limit" not in client.get("/").text


def test_a_run_in_progress_shows_its_stage_and_share(
    client: FlaskClient, services: Services, project: int
) -> None:
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    services.runs.start(run.id)
    services.runs.progress(run.id, stage="training", fraction=0.42)

    page = client.get("/").text

    assert "training" in page
    assert "42 %" in page


def test_the_page_needs_nothing_from_elsewhere(client: FlaskClient, submitted: None) -> None:
    page = client.get("/").text

    for part in ("dashboard.css", "dashboard.js", "cytoloop.svg"):
        assert f"/static/{part}" in page
        file = client.get(f"/static/{part}")
        assert file.status_code == 200
        assert "//" not in file.text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")
        file.close()
    assert "https://" not in page


def test_a_browser_gets_what_was_drawn_as_voc(client: FlaskClient, submitted: None) -> None:
    answer = client.get("/projects/1/export/voc", buffered=True)

    assert answer.headers["Content-Disposition"] == "attachment; filename=proj1-voc.zip"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".xml")]
        objects = ElementTree.fromstring(archive.read(name)).findall("object")
    assert [o.findtext("name") for o in objects] == ["Cell", "Cell"]
    assert float(objects[1].findtext("bndbox/xmin", "")) == pytest.approx(441.5, abs=0.5)


def test_the_dashboard_links_only_boxes_that_there_are(
    client: FlaskClient, project: int, payload: Any, label_studio_files: None
) -> None:
    corrected, predicted = "/projects/1/export/voc", "/projects/1/export/voc?predicted=1"
    steps = [("", None, []), ("/predict", "predict-on-task-open", [predicted])]
    steps.append(("/webhook", "ANNOTATION_UPDATED-ui", [corrected, predicted]))
    before: Any = None
    for address, body, linked in steps:
        if body:
            client.post(address, json=payload(body))
        page = client.get("/").text
        assert [each for each in (corrected, predicted) if f'href="{each}"' in page] == linked
        assert ("No boxes yet" in page) == (not linked)
        assert all(client.get(each, buffered=True).status_code == 200 for each in linked)
        assert shown(client) != before
        before = shown(client)


def test_a_browser_gets_the_counts_as_csv(client: FlaskClient, submitted: None) -> None:
    answer = client.get("/projects/1/export/counts", buffered=True)

    assert answer.headers["Content-Disposition"] == "attachment; filename=proj1-counts.csv"
    header, *rows = answer.text.strip().splitlines()
    assert "count" in header
    assert any("Cell" in row and "corrected" in row for row in rows)


def test_the_effort_is_told_as_json_and_in_lines_of_the_dashboard(
    client: FlaskClient, payload: Any, label_studio_files: None
) -> None:
    client.post("/predict", json=payload("predict-on-task-open"))
    submit = payload("ANNOTATION_UPDATED-ui")
    for region in submit["annotation"]["result"]:
        region["origin"] = "manual"  # recorded with boxes of a prediction that is not known here
    client.post("/webhook", json=submit)
    told = client.get("/projects/1/effort").json

    assert told["total"]["images"] == 0
    assert told["by_hand"]["cells"] == told["by_hand"]["added"] == 2
    assert told["by_hand"]["seconds_per_cell"] == pytest.approx(11.975 / 2, abs=1e-3)
    assert told["forecast"] is None
    page = " ".join(client.get("/").text.split())
    assert "by hand: 1 image with 2 cells drawn without boxes, 6.0 s a cell" in page
    assert client.get("/projects/7/effort").status_code == 404


def test_the_work_with_a_champion_that_cannot_be_read_is_told(
    client: FlaskClient, services: Services, project: int
) -> None:
    services.images.add(project, "ab" * 32, 0, "a.png", 64, 48)
    services.images.attach_task(project, "ab" * 32, 0, 1)
    services.predictions.put(StoredPrediction(project, 1, "ab" * 32, 0, "gone+t0.5", []))
    services.annotations.record(
        Annotation(1, project, 1, (), datetime.now(UTC), NOW, lead_time=9.0, parent_prediction=1)
    )
    Champions(services.registry.root / "champions", CLASSICAL_ID).promote(str(project), "gone")

    assert "with the champion&#39;s boxes in 1 image" in client.get("/").text
    assert client.get("/projects/1/effort").status_code == 200


def test_an_export_of_nothing_says_what_to_do(client: FlaskClient, project: int) -> None:
    answer = client.get("/projects/1/export/voc")

    assert answer.status_code == 400
    assert "correct some first" in answer.json["error"]


def test_a_project_of_which_a_part_fails_hides_no_other_on_the_dashboard(
    client: FlaskClient, services: Services, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.projects.ensure(2, "proj2", LABEL_CONFIG)

    def odd(services: Services, project: int) -> Any:
        if project == 1:
            raise TypeError("something nobody thought of")
        return measure(services, project)

    monkeypatch.setattr("backend.http.dashboard.measure", odd)
    page = client.get("/").text

    assert "Not all of proj1 can be shown" in page
    assert '<article data-project="1">' in page
    assert '<article data-project="2">' in page


def test_one_odd_region_takes_down_neither_the_dashboard_nor_the_exports(
    client: FlaskClient, services: Services, submitted: None, payload: Any
) -> None:
    event = payload("ANNOTATION_UPDATED-ui")
    first, *others = event["annotation"]["result"]
    far = {**first["value"], "x": 10**400}
    kinds = ({"type": ["rectanglelabels"]}, {"id": ["a"]}, {"value": far}, {"meta": "note"})
    event["annotation"]["result"] = [*others, *({**first, **odd} for odd in kinds)]
    event["annotation"]["updated_at"] = "2026-11-25T00:00:00Z"

    assert client.post("/webhook", json=event).json["recorded"] == 1
    assert "Not all" not in client.get("/").text
    for what in ("voc", "counts"):
        assert client.get(f"/projects/1/export/{what}", buffered=True).status_code == 200


def test_what_the_poll_found_wrong_is_told_on_the_dashboard_and_in_the_status(
    app: Flask, client: FlaskClient, project: int
) -> None:
    problems = app.extensions[EXTENSION].problems
    problems.note_label_config(project, "The label_config draws no boxes on an image.")
    problems.note_images(project, "Not counted: 1 corrected task.")

    assert "The label_config draws no boxes" in client.get("/").text
    (told,) = client.get("/job_status").json["projects"]
    assert told["problem"] == (
        "The label_config draws no boxes on an image. Not counted: 1 corrected task."
    )
