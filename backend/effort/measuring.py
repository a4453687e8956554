"""From the store: what each correction did, compared with the very boxes that were served."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from backend.effort.actions import Actions
from backend.effort.comparison import Comparison, compare
from backend.effort.faults import let_stand, not_drawn
from backend.labelstudio.results import to_drawn_boxes
from backend.services import Services
from backend.store.annotations import Annotation
from backend.store.corrections import Correction
from backend.store.images import StoredImage
from backend.store.predictions import StoredPrediction
from model.errors import BrokenVersion
from model.policy import version_of

#: How far the clocks of Label Studio's machine and ours may be apart.
CLOCKS_APART = timedelta(seconds=5)


def measure(services: Services, project: int) -> list[Correction]:
    """Return what each annotation of a project did; those not yet compared are compared now.

    Nothing is counted up: what is kept is derived from annotations and predictions alone, so that
    events lost, doubled or late cannot count twice. An annotation whose image is not known yet
    waits.

    Raises
    ------
    NotFound
        When the project is not known.
    """
    services.projects.get(project)
    for annotation in services.corrections.unmeasured(project):
        if image := services.images.of_task(project, annotation.task):
            services.corrections.put(_measured(services, annotation, image))
    return services.corrections.all(project)


def started_from(services: Services, annotation: Annotation) -> StoredPrediction | None:
    """Return the prediction that an annotation began with.

    Regions keep their ids and scores, so it is the one that shares most of them; a later one may be
    stored while the page is still open. Of two policies of one version that agree in all of these
    it is the newest that was there when the page was opened. Where nothing is shared (all was
    deleted, or nothing was found), it is the one that was shown at the first submit, if the page
    began with one at all: of one without boxes an annotation may not say so.
    """
    shown = services.predictions.of_task(annotation.project, annotation.task)
    shared = [_shared(annotation, prediction) for prediction in shown]
    if any(ids for ids, _ in shared):
        alike = [p for p, each in zip(shown, shared, strict=True) if each == max(shared)]
        opened = annotation.created_at - timedelta(seconds=annotation.lead_time or 0.0)
        return next(iter(_there_at(opened, alike)), alike[0])
    there = _there_at(annotation.created_at, shown)
    last = last_shown(there, _champion_at(services, annotation.project, annotation.created_at))
    if annotation.parent_prediction is not None:
        return last
    drawn_in_page = annotation.lead_time is not None
    return last if last and not last.regions and drawn_in_page else None


def last_shown(shown: Sequence[StoredPrediction], served: str) -> StoredPrediction | None:
    """Return what a task shows while a version serves it.

    After a roll-back these are its boxes of before: they are not stored anew.

    Parameters
    ----------
    shown
        What the task was ever shown, newest first.
    served
        The version's id, or its name with its policy. Of others it is the newest where the task has
        none of it yet.
    """
    version = version_of(served)
    # The first of those that are equal in this, which is the newest.
    return max(
        shown, key=lambda p: (version_of(p.served) == version, p.served == served), default=None
    )


def _champion_at(services: Services, project: int, moment: datetime) -> str:
    """Return the id of the version that served then; empty where that is not known."""
    with suppress(BrokenVersion):
        return services.registry.champion_at(str(project), moment)
    return ""


def _shared(annotation: Annotation, prediction: StoredPrediction) -> tuple[int, int]:
    """Return how many regions have the ids of a prediction's, and how many its scores as well."""
    served = {str(region.get("id")): region.get("score") for region in prediction.regions}
    kept = [region for region in annotation.result if str(region.get("id")) in served]
    return len(kept), sum(served[str(region.get("id"))] == region.get("score") for region in kept)


def _there_at(moment: datetime, shown: Sequence[StoredPrediction]) -> list[StoredPrediction]:
    return [p for p in shown if p.created_at <= moment + CLOCKS_APART]


def is_unseen(annotation: Annotation, served: StoredPrediction, image: StoredImage) -> bool:
    """Say whether boxes became an annotation without a page, by an action on many tasks.

    Label Studio's then names its prediction, holds just that, and took no time.
    """
    if annotation.lead_time is not None or annotation.parent_prediction is None:
        return False
    return _compared(annotation, served, image).actions.number == 0


def _measured(services: Services, annotation: Annotation, image: StoredImage) -> Correction:
    served = started_from(services, annotation)
    in_page = annotation.lead_time is not None
    # What was brought in and updated has a time as well, but began with boxes of its own.
    if in_page and services.annotations.is_brought_in(annotation.id):
        in_page, served = False, served if served and served.regions else None
    if served and is_unseen(annotation, served, image):
        served = None
    by_person = served is not None or in_page
    compared = _compared(annotation, served, image) if by_person else _imported(annotation)
    return Correction(
        annotation=annotation.id,
        project=annotation.project,
        task=annotation.task,
        submitted_at=annotation.updated_at,
        annotator=annotation.annotator or "",
        start="prediction" if served else "nothing" if by_person else "import",
        served=served.served if served else "",
        contrast_group=served.contrast_group if served else "",
        **vars(compared),
        **_watched(annotation, served, image),
    )


def _compared(
    annotation: Annotation, served: StoredPrediction | None, image: StoredImage
) -> Comparison:
    size = image.width, image.height
    return compare(
        to_drawn_boxes(served.regions if served else (), *size),
        to_drawn_boxes(annotation.result, *size),
    )


def _watched(
    annotation: Annotation, served: StoredPrediction | None, image: StoredImage
) -> dict[str, Any]:
    """Return what became of the boxes that were withheld and planted, where any were."""
    if served is None or served.watch is None:
        return {}
    size = image.width, image.height
    submitted = to_drawn_boxes(annotation.result, *size)
    return {
        "watched": served.watch.kind,
        "hidden": served.watch.telling,
        "drawn": served.watch.telling - len(not_drawn(submitted, served.watch, size)),
        "planted": len(served.watch.planted),
        "accepted": len(let_stand(submitted, served.watch, size)),
    }


def _imported(annotation: Annotation) -> Comparison:
    return Comparison(Actions(), len(annotation.result), (), 0)
