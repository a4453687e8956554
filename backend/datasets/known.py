"""What is known of each image of a project: corrected boxes, else the newest predicted ones."""

from __future__ import annotations

from dataclasses import dataclass

from backend.datasets.counts import CountedImage
from backend.labelstudio.results import to_boxes
from backend.services import Services
from backend.store.annotations import Annotation
from backend.store.images import StoredImage


@dataclass(frozen=True)
class KnownImage:
    """One image of a project with its boxes and what was odd about them."""

    stored: StoredImage
    counted: CountedImage
    notes: tuple[str, ...] = ()

    @property
    def corrected(self) -> bool:
        return self.counted.source == "corrected"


def known_images(services: Services, project: int) -> tuple[list[KnownImage], list[str]]:
    """Return each image of a project in the order of import, and notes on what has no image.

    Raises
    ------
    NotFound
        There is no such project.
    """
    services.projects.get(project)
    corrected: dict[tuple[str, int], Annotation] = {}
    notes = []
    for annotation in services.annotations.corrected(project):
        image = services.images.of_task(project, annotation.task)
        if image is None:
            notes.append(f"task {annotation.task} left out: its image was never kept; open it once")
            continue
        other = corrected.setdefault((image.sha256, image.page), annotation)
        if other.updated_at < annotation.updated_at:
            corrected[image.sha256, image.page] = annotation
    images = services.images.all(project)
    return [_known(services, i, corrected.get((i.sha256, i.page))) for i in images], notes


def _known(services: Services, image: StoredImage, annotation: Annotation | None) -> KnownImage:
    task = annotation.task if annotation else image.task
    served = services.predictions.latest(image.project, task) if task is not None else None
    regions = annotation.result if annotation else served.regions if served else ()
    boxes, notes = to_boxes(regions, image.width, image.height)
    counted = CountedImage(
        name=image.name,
        width=image.width,
        height=image.height,
        boxes=tuple(boxes),
        source="corrected" if annotation else "predicted" if served else "none",
        model_version=served.served if served else "",
        annotator=(annotation.annotator or "") if annotation else "",
        flags=(*(served.flags if served else ()), *notes),
    )
    return KnownImage(image, counted, tuple(f"{image.name}: {note}" for note in notes))
