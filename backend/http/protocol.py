"""Label Studio's ML backend protocol, without its webhook (see ``backend.http.webhooks``)."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from backend import metrics
from backend.http.auth import require_password
from backend.http.bodies import json_body
from backend.http.overview import overview_of
from backend.http.parts import parts
from backend.learning.triggers import start_training
from backend.numbers import number_of, project_number
from backend.serving.predictor import tasks_of
from model.judging.policy import Policy

health = Blueprint("health", __name__)
protocol = Blueprint("protocol", __name__)
protocol.before_request(require_password)

Json = dict[str, Any]


@health.get("/health")
def up() -> Json:
    """Say that the process answers; open to all, since it reveals nothing."""
    return {"status": "UP", "model_class": "Cytoloop"}


@protocol.post("/setup")
def setup() -> Json:
    """Name the version that /predict will sign with; never wait for a load."""
    body = json_body()
    number = project_number(body.get("project"))
    label_config = body.get("schema")
    if label_config:  # /setup does not send the title
        parts().services.projects.ensure(number, "", label_config)
    return {"model_version": _name(number)}


@protocol.post("/predict")
def predict() -> Json:
    """Answer each task, in order."""
    body = json_body()
    started = time.monotonic()
    number = project_number(body.get("project"))
    label_config = body.get("label_config") or parts().services.projects.get(number).label_config
    results = parts().predictor.predict(number, tasks_of(body), label_config)
    metrics.PREDICT_SECONDS.observe(time.monotonic() - started)
    # From the version that answered: another may have become champion meanwhile.
    signed = (answer["model_version"] for answer in results if isinstance(answer, dict))
    return {"results": results, "model_version": next(signed, None) or _name(number)}


@protocol.get("/versions")
@protocol.post("/versions")
def versions() -> Json:
    """List the versions that a project can use, oldest first, by their served names."""
    body = json_body() if request.get_data(cache=True) else {}
    asked = request.args.get("project") or body.get("project")
    project = None if asked is None else str(project_number(asked))
    registry = parts().services.registry
    named = [
        (registry.policy(project, version) if project else Policy.of(version), version)
        for version in registry.list(project)
    ]
    return {"versions": [policy.served_name(version) for policy, version in named]}


@protocol.post("/train")
def train() -> tuple[Json, int]:
    """Open a run now, as Label Studio's button does through the webhook."""
    body = json_body()
    run = start_training(parts().services, project_number(_project_id(body)))
    return {"job": str(run.id), "state": run.state}, 201


@protocol.get("/job_status")
def status() -> Json:
    """Say what runs, and how far each project is from its next milestone."""
    asked = request.args.get("project")
    projects = parts().services.projects
    chosen = projects.all() if asked is None else [projects.get(project_number(asked))]
    return {"projects": [overview_of(parts(), project).to_json() for project in chosen]}


@protocol.post("/job_status")
def status_of_job() -> Json:
    """Say how one run stands; Label Studio asks by the id from /train or the webhook."""
    return parts().services.runs.get(number_of(json_body().get("job"), "job")).to_json()


@protocol.get("/metrics")
def measured() -> Response:
    """Answer Prometheus."""
    metrics.LOADED_VERSION.clear()
    for project, name in parts().slot.loaded_names().items():
        metrics.LOADED_VERSION.labels(project, name).set(1)
    return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)


def _name(project: int) -> str:
    return parts().slot.name(str(project))


def _project_id(body: Json) -> object:
    project = body.get("project")
    return project.get("id") if isinstance(project, dict) else project
