"""Making good what the events lost: Label Studio's API has the truth about annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from backend.errors import BackendError
from backend.labelstudio.interface import LabellingInterface
from backend.services import Services
from backend.serving.task_images import stored_task_image
from backend.store.annotations import Annotation
from preprocessing.errors import PreprocessingError

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reconciled:
    """What the API knew that the events had not told.

    Parameters
    ----------
    recorded, deleted
        Numbers of annotations.
    unreadable
        Tasks whose image could not be fetched or read, with the reason.
    """

    recorded: int
    deleted: int
    unreadable: tuple[str, ...]


def reconcile(services: Services, project: int) -> Reconciled:
    """Record every annotation that Label Studio has now, and forget those it has no more.

    The images of corrected tasks that Cytoloop did not import itself are fetched and kept.

    Raises
    ------
    LabelStudioError
        When Label Studio cannot be reached; what was recorded until then stays.
    """
    known_before = services.annotations.known(project)
    data_key = LabellingInterface.parse(services.projects.get(project).label_config).data_key
    seen: set[int] = set()
    recorded = 0
    unreadable: list[str] = []
    for task in services.label_studio.tasks(project):
        annotations = _annotations(project, task)
        seen |= {annotation.id for annotation in annotations}
        recorded += sum(services.annotations.record(annotation) for annotation in annotations)
        if any(not annotation.was_cancelled for annotation in annotations):
            unreadable += _fetch_image(services, project, task, data_key)
    # Only those known before the first page was asked for: a newer one may not have been on it.
    deleted = services.annotations.delete(project, known_before - seen)
    log.info("reconciled", project=project, recorded=recorded, deleted=deleted)
    return Reconciled(recorded, deleted, tuple(unreadable))


def _annotations(project: int, task: Mapping[str, Any]) -> list[Annotation]:
    return [
        Annotation.from_label_studio({"project": project, "task": task["id"], **values})
        for values in task["annotations"]
    ]


def _fetch_image(
    services: Services, project: int, task: Mapping[str, Any], data_key: str
) -> list[str]:
    try:
        stored_task_image(services, project, task, data_key)
    except (BackendError, PreprocessingError, OSError) as error:
        return [f"task {task['id']}: its image cannot be used: {error}"]
    return []
