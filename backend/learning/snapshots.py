"""From corrections to the frozen set of labelled images that a run learns from."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backend.errors import NotFound
from backend.labelstudio.results import to_boxes
from backend.services import Services
from backend.store.annotations import Annotation
from backend.store.images import StoredImage
from backend.store.projects import Project
from model.boxes import Box
from model.examples import DatasetSnapshot, LabelledImage, decide_sides
from model.likeness import fingerprint_of, group_alike
from preprocessing.errors import UnreadableImage
from preprocessing.images import read_image

#: Told what a person should know: boxes that were changed or left out, and why.
OnNote = Callable[[str], None]


@dataclass(frozen=True)
class _Example:
    """An image and the annotation that counts for it."""

    image: StoredImage
    annotation: Annotation

    @property
    def key(self) -> tuple[str, int]:
        return self.image.sha256, self.image.page


def build_snapshot(services: Services, project: int, on_note: OnNote) -> DatasetSnapshot:
    """Freeze what is corrected now.

    Images get their side here, for ever; one that shows the field of an earlier one goes where that
    went. One or two that are left over from the last five have none yet; they wait for the next run
    (see ``model.examples.decide_sides``).

    Parameters
    ----------
    on_note
        Called with whatever was changed or left out.

    Raises
    ------
    NotFound
        When the project is not known.
    """
    chosen = services.projects.get(project)
    examples = _examples(services, project, on_note)
    _decide(services, project, [example.image for example in examples], on_note)
    sides = {(i.sha256, i.page): i.side for i in services.images.all(project)}
    labelled = []
    for example in examples:
        boxes = _boxes(example, chosen, on_note)
        if side := sides[example.key]:
            labelled.append(
                LabelledImage(
                    path=services.images.path(example.image.sha256),
                    sha256=example.image.sha256,
                    boxes=boxes,
                    side=side,
                    page=example.image.page,
                    name=example.image.name,
                )
            )
    return DatasetSnapshot(tuple(labelled), chosen.classes)


def _examples(services: Services, project: int, on_note: OnNote) -> list[_Example]:
    """Return one example an image, in order of first correction."""
    examples: dict[tuple[str, int], _Example] = {}
    for annotation in services.annotations.corrected(project):
        image = services.images.of_task(project, annotation.task)
        if image is None:
            on_note(f"task {annotation.task} is left out: its image has not come from Label Studio")
            continue
        example = _Example(image, annotation)
        before = examples.get(example.key)
        # Two tasks of one image: the later correction counts, at the place of the first.
        if before is None or before.annotation.updated_at < annotation.updated_at:
            examples[example.key] = example
    return list(examples.values())


def _decide(
    services: Services, project: int, corrected: Sequence[StoredImage], on_note: OnNote
) -> None:
    decided = [image for image in services.images.all(project) if image.side]
    images = decided + [image for image in corrected if image.side is None]
    groups = group_alike([_fingerprint(services, image) for image in images])
    known = [image.side for image in images]
    sides = decide_sides([_content_hash(image) for image in images], known, groups)
    for image, side, group in zip(images, sides, groups, strict=True):
        if image.side is None and side is not None:
            services.images.set_side(project, image.sha256, image.page, side)
            if image is not images[group]:
                on_note(f"{image.name} shows the field of {images[group].name}: both are {side}")


def _fingerprint(services: Services, image: StoredImage) -> str:
    """Return an image's fingerprint; it is made once, when it is first asked for."""
    if image.fingerprint is not None:
        return image.fingerprint
    try:
        pixels = read_image(services.images.path(image.sha256), image.page).pixels
    except (NotFound, UnreadableImage):
        return ""  # whoever reads it to learn from it will say so
    fingerprint = fingerprint_of(pixels)
    services.images.set_fingerprint(image.sha256, image.page, fingerprint)
    return fingerprint


def _content_hash(image: StoredImage) -> str:
    # The pages of a file have one sha256, and equal hashes would all go to one side.
    name = f"{image.sha256} {image.page}"
    return image.sha256 if image.page == 0 else hashlib.sha256(name.encode()).hexdigest()


def _boxes(example: _Example, project: Project, on_note: OnNote) -> tuple[Box, ...]:
    image = example.image
    boxes, notes = to_boxes(example.annotation.result, image.width, image.height)
    known = tuple(box for box in boxes if box.label in project.classes)
    unknown = Counter(box.label for box in boxes if box.label not in project.classes)
    notes = notes + [
        f"{number} boxes of {label!r} left out: the label_config has no such class"
        for label, number in sorted(unknown.items())
    ]
    for note in notes:
        on_note(f"{image.name}: {note}")
    return known
