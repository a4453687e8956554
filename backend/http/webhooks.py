"""Receives Label Studio's events: recorded and answered at once; the worker does the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from flask import Blueprint

from backend import metrics
from backend.errors import BadRequest, QueueError
from backend.http.auth import require_webhook_secret
from backend.http.bodies import json_body
from backend.http.parts import Parts, parts
from backend.labelstudio.annotation import Annotation
from backend.learning.reconcile import follow_config
from backend.learning.triggers import after_correction, start_training
from backend.numbers import number_of
from backend.services import Services
from backend.store.runs import Run

log = structlog.get_logger(__name__)

webhooks = Blueprint("webhooks", __name__)
webhooks.before_request(require_webhook_secret)

Json = dict[str, Any]


@webhooks.post("/webhook")
def webhook() -> Json:
    """Record an event. A doubled event changes nothing; bodies hold tokens and are never logged."""
    body = json_body()
    action = body.get("action")
    if not isinstance(action, str):
        raise BadRequest('The event names no "action"')
    if action in IGNORED:
        metrics.WEBHOOK_EVENTS.labels(action, "ignored").inc()
        return {"ignored": f"{action} changes nothing that Cytoloop learns from"}
    handle = HANDLERS.get(action)
    if handle is None:
        metrics.WEBHOOK_EVENTS.labels("unknown", "refused").inc()
        raise BadRequest(f"The action {action!r} is not one of {', '.join(sorted(HANDLERS))}")
    shared, project = parts(), _project_number(body)
    _follow_project(shared, project, body)
    answer = handle(shared.services, project, body)
    metrics.WEBHOOK_EVENTS.labels(action, "recorded").inc()
    log.info("webhook", action=action, project=project, **answer)
    return answer


def _record(services: Services, project: int, body: Json) -> Json:
    annotations = [Annotation.from_label_studio(sent, project) for sent in _sent(body)]
    new = sum(services.annotations.record(annotation) for annotation in annotations)
    return {"recorded": new, **_count(services, project)}


def _delete(services: Services, project: int, body: Json) -> Json:
    ids = [number_of(sent.get("id"), "id") for sent in _sent(body)]
    return {"deleted": services.annotations.delete(project, ids)}


def _start(services: Services, project: int, body: Json) -> Json:
    return _opened(project, lambda: start_training(services, project))


def _update_project(services: Services, project: int, body: Json) -> Json:
    return {"updated": 1}  # the project of every event is followed before its handler is called


def _count(services: Services, project: int) -> Json:
    """Open a run if a milestone is reached."""
    return _opened(project, lambda: after_correction(services, project))


def _opened(project: int, open_run: Callable[[], Run | None]) -> Json:
    """Name the run that was opened.

    If Redis is away, the run waits in the store and is queued when Redis is back. Neither a
    correction nor the button is refused for that.
    """
    try:
        run = open_run()
    except QueueError as error:
        log.warning("webhook.not_queued", project=project, reason=str(error))
        return {"waiting": str(error)}
    return {"job": str(run.id)} if run else {}


def _project_number(body: Json) -> int:
    project = body.get("project")
    if not isinstance(project, Mapping) or "id" not in project:
        raise BadRequest("The event names no project; let the webhook send its payload")
    return number_of(project["id"], "project")


def _follow_project(shared: Parts, project: int, body: Json) -> None:
    """Keep the project as the event describes it, even if it is new."""
    described = body["project"]
    if label_config := described.get("label_config"):
        title = str(described.get("title") or "")
        problem = follow_config(shared.services, project, title, str(label_config))
        shared.problems.note_label_config(project, problem)


def _sent(body: Json) -> list[Json]:
    """Return the annotations of an event: the action decides whether one or a list is sent."""
    sent = body.get("annotations", body.get("annotation"))
    listed: list[Any] = sent if isinstance(sent, list) else [sent]
    if not listed or not all(isinstance(one, dict) for one in listed):
        raise BadRequest("The event has no annotation; let the webhook send its payload")
    return listed


HANDLERS: dict[str, Callable[[Services, int, Json], Json]] = {
    "ANNOTATION_CREATED": _record,
    "ANNOTATIONS_CREATED": _record,
    "ANNOTATION_UPDATED": _record,
    "ANNOTATIONS_DELETED": _delete,
    "PROJECT_UPDATED": _update_project,
    "START_TRAINING": _start,
}
IGNORED = frozenset(
    {
        "PROJECT_CREATED",
        "PROJECT_DELETED",
        "TASKS_CREATED",
        "TASKS_DELETED",
        "LABEL_LINK_CREATED",
        "LABEL_LINK_UPDATED",
        "LABEL_LINK_DELETED",
    }
)
