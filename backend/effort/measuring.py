"""Finds what each correction did, by comparing it with the very boxes that were served."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import OperationalError

from backend.actions import Actions
from backend.effort.comparison import Edit, compare, is_from_prediction
from backend.effort.faults import let_stand, not_drawn
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import DrawnBox, of_cells, to_drawn_boxes
from backend.services import Services
from backend.store.corrections import Correction
from backend.store.images import StoredImage
from backend.store.predictions import StoredPrediction
from model.errors import BrokenVersion
from preprocessing.images import PageKey

#: How far apart the clocks of Label Studio's machine and ours may be.
CLOCKS_APART = timedelta(seconds=5)


def measure(services: Services, project: int) -> list[Correction]:
    """Return what each annotation of a project did; those not yet compared are compared now.

    Nothing is counted up: results derive only from annotations and predictions, so lost, doubled or
    late events do no harm. An annotation whose image is not known yet waits. A result that cannot
    be kept, as on a full disk, is derived anew each time.

    Raises
    ------
    NotFound
        The project is not known.
    """
    interface = LabellingInterface.parse(services.projects.get(project).label_config)
    unkept = dict[int, Correction]()
    for annotation in services.corrections.unmeasured(project):
        if image := services.images.of_task(project, annotation.task):
            found = _measured(services, annotation, image, interface)
            if unkept or not _keep(services, found):
                unkept[annotation.id] = found
    return services.corrections.all(project, unkept)


def _keep(services: Services, found: Correction) -> bool:
    """Keep what an annotation did, and tell whether that was possible."""
    try:
        services.corrections.put(found)
    except OperationalError:
        return False
    return True


def started_from(
    services: Services, annotation: Annotation, image: PageKey
) -> StoredPrediction | None:
    """Return the prediction that an annotation began with.

    Regions keep their ids and scores, so it is the one that shares most of them; a later one may be
    stored while the page is still open. If predictions of two policies of a version share equally
    many, it is the newest that was there when the page was opened. If nothing is shared (all was
    deleted, or nothing was found), it is the one shown at the first submit, provided that the page
    began with one: an annotation may not say so for a prediction without boxes.

    Parameters
    ----------
    image
        The image of the task.
    """
    shown = services.predictions.of_task(annotation.project, annotation.task)
    # Predictions for this image come first. Others' follow: a file may have come back with other
    # bytes, as a TIFF for its PNG.
    for some in ([p for p in shown if p.key == image], shown):
        shared = [_shared(annotation, prediction) for prediction in some]
        if any(ids for ids, _ in shared):
            alike = [p for p, each in zip(some, shared, strict=True) if each == max(shared)]
            opened = annotation.created_at - timedelta(seconds=annotation.lead_time or 0.0)
            there = (p for p in alike if p.created_at <= opened + CLOCKS_APART)
            return next(there, alike[0])
    last = services.predictions.last_shown(
        annotation.project,
        annotation.task,
        _champion_at(services, annotation.project, annotation.created_at),
        until=annotation.created_at + CLOCKS_APART,
        image=image,
    )
    if annotation.parent_prediction is not None:
        return last
    return last if last and not last.regions and _is_drawn(services, annotation) else None


def _champion_at(services: Services, project: int, moment: datetime) -> str:
    """Return the id of the version that served at a moment; empty if not known."""
    with suppress(BrokenVersion):
        return services.registry.champion_at(str(project), moment)
    return ""


def _is_drawn(services: Services, annotation: Annotation) -> bool:
    """Tell whether an annotation that shares nothing with known predictions was drawn in a page.

    An imported and then updated annotation has a time too, and so has one of Label Studio's own
    export, whose boxes come from another project's prediction.
    """
    if annotation.lead_time is None or services.annotations.is_brought_in(annotation.id):
        return False
    return not any(is_from_prediction(region.get("origin")) for region in annotation.result)


def _shared(annotation: Annotation, prediction: StoredPrediction) -> tuple[int, int]:
    """Return how many regions share a prediction's ids, and how many of these its scores too."""
    scores = {str(region.get("id")): region.get("score") for region in prediction.regions}
    kept = [region for region in annotation.result if str(region.get("id")) in scores]
    return len(kept), sum(scores[str(region.get("id"))] == region.get("score") for region in kept)


def submitted_boxes(
    annotation: Annotation, image: StoredImage, interface: LabellingInterface
) -> list[DrawnBox]:
    """Return what was drawn on the counted image, and not on another image of the task."""
    return to_drawn_boxes(of_cells(annotation.result, interface), *image.size)


def is_unseen(
    annotation: Annotation,
    submitted: Sequence[DrawnBox],
    began: StoredPrediction,
    image: StoredImage,
) -> bool:
    """Tell whether boxes became an annotation without a page, by an action on many tasks.

    Such an annotation names its prediction, contains exactly its boxes, and has no time.

    Parameters
    ----------
    submitted
        The annotation's :func:`submitted_boxes`.
    """
    if annotation.lead_time is not None or annotation.parent_prediction is None:
        return False
    return _edit(submitted, began, image).actions.number == 0


def _measured(
    services: Services, annotation: Annotation, image: StoredImage, interface: LabellingInterface
) -> Correction:
    submitted = submitted_boxes(annotation, image, interface)
    began = started_from(services, annotation, image.key)
    if began and is_unseen(annotation, submitted, began, image):
        began = None
    by_person = began is not None or _is_drawn(services, annotation)
    imported = Edit(Actions(), len(submitted), (), 0)
    edit = _edit(submitted, began, image) if by_person else imported
    return Correction(
        annotation=annotation.id,
        project=annotation.project,
        task=annotation.task,
        submitted_at=annotation.updated_at,
        annotator=annotation.annotator or "",
        start="prediction" if began else "nothing" if by_person else "import",
        served=began.served if began else "",
        contrast_group=began.contrast_group if began else "",
        **vars(edit),
        **_watched(submitted, began, image),
    )


def _edit(
    submitted: Sequence[DrawnBox], began: StoredPrediction | None, image: StoredImage
) -> Edit:
    before = to_drawn_boxes(began.regions if began else (), *image.size)
    return compare(before, submitted)


def _watched(
    submitted: Sequence[DrawnBox], began: StoredPrediction | None, image: StoredImage
) -> dict[str, Any]:
    """Return what became of withheld and planted boxes, if there were any."""
    if began is None or began.watch is None:
        return {}
    size = image.size
    return {
        "watched": began.watch.kind,
        "hidden": began.watch.telling,
        "drawn": began.watch.telling - len(not_drawn(submitted, began.watch, size)),
        "planted": len(began.watch.planted),
        "accepted": len(let_stand(submitted, began.watch, size)),
    }
