"""The loop on PostgreSQL, where what several processes write really goes on side by side."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from backend.http.parts import EXTENSION
from backend.labelstudio.client import SECRET_HEADER
from backend.learning.pipeline import learn
from backend.learning.push import push
from backend.services import Services, build_services
from backend.settings import Settings
from model.classical.detector import CLASSICAL_ID
from model.keeping.starter import STARTER_ID
from preprocessing.images import encode_png
from tests.backend.conftest import CREDENTIALS, LEARN, PUSH, waiting
from tests.backend.learning.conftest import RIMS, START, field_of
from tests.backend.store.postgresql import PostgreSQL

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(settings: Settings, server: PostgreSQL) -> Settings:
    # So few steps from nothing prove nothing; from the starter they do.
    chosen = {"first_version": STARTER_ID, "iterations": 8}
    return settings.model_copy(update={"database_url": server.new_database(), **chosen})


@contextmanager
def process(services: Services) -> Iterator[Services]:
    """Connect to the store once more, as another process does."""
    other = build_services(services.settings)
    other.__dict__["label_studio"] = services.label_studio
    try:
        yield other
    finally:
        other.engine.dispose()


@contextmanager
def web(services: Services) -> Iterator[FlaskClient]:
    with process(services) as own:
        app = create_app(own)
        with closing(app.extensions[EXTENSION].slot):
            yield app.test_client()


@pytest.fixture
def corrected(project: int, add_image: Any, regions: Any) -> list[dict[str, Any]]:
    """Five tasks with an annotation each, as the API lists them, and their images."""
    at = START.isoformat()
    tasks = []
    for id in range(1, 6):
        field = field_of(id, 4, RIMS)
        add_image(id, field.pixels)
        boxes = [replace(box, score=None) for box in field.boxes]
        made = {"id": id, "created_at": at, "updated_at": at}
        annotation = made | {"task": id, "result": regions(*boxes, width=96, height=96)}
        tasks.append(made | {"data": {"image": "/data/a.png"}, "annotations": [annotation]})
    return tasks


def test_two_webs_and_two_workers_make_one_run_of_a_milestone_and_its_version_serves(
    services: Services, project: int, label_studio: Any, corrected: list[dict[str, Any]]
) -> None:
    services.registry.promote(str(project), CLASSICAL_ID)
    new = encode_png(field_of(9, 4, RIMS).pixels)
    there = {"id": 9, "data": {"image": "/data/new.png"}, "annotations": []}
    recorded = label_studio([*corrected, there], {"/data/new.png": new})
    owner = {"id": project, **recorded.described}
    annotations = [annotation for task in corrected for annotation in task["annotations"]]

    def submit(to: FlaskClient, annotation: dict[str, Any]) -> int:
        event = {"action": "ANNOTATION_CREATED", "project": owner, "annotation": annotation}
        headers = {SECRET_HEADER: CREDENTIALS.webhook_secret}
        return int(to.post("/webhook", json=event, headers=headers).json["recorded"])

    with web(services) as one, web(services) as other, ThreadPoolExecutor(4) as threads:
        doubled = [(to, annotation) for annotation in annotations for to in (one, other)]
        assert sum(threads.map(submit, *zip(*doubled, strict=True))) == len(annotations)
    (run,) = services.runs.all(project)
    assert (run.milestone, run.trigger, run.state) == (5, "milestone", "queued")

    with process(services) as one, process(services) as other, ThreadPoolExecutor(2) as threads:
        list(threads.map(learn, (one, other), (run.id, run.id)))
    (run,) = services.runs.all(project)
    assert run.state == "promoted", run.message
    assert services.registry.champion(str(project)).id == run.candidate
    assert waiting(services) == [f"{LEARN}-{run.id}"]
    assert waiting(services, PUSH) == [f"{PUSH}-{project}-{run.candidate}"]

    assert push(services, project, str(run.candidate)) == 1
    assert recorded.predictions == [(9, services.projects.get(project).pushed)]
