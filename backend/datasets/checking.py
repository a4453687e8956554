"""Finds what is odd about labels before a run learns from them: `cytoloop labels check`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from backend.datasets.folder import LabelledFolder
from backend.learning.snapshots import fingerprint, labels_of
from backend.services import Services
from model.labels.label_guard import ImageLabels, SetAside, guard
from model.labels.likeness import fingerprint_of, group_alike

#: Called with the number of images looked at and the number of all.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class LabelCheck:
    """What a check of the labels of a project or a folder found.

    Parameters
    ----------
    images, boxes
        The number of corrected images, and of boxes on them.
    aside
        The boxes that look wrong; for a folder their edges are counted as in its annotations.
    notes
        What is left out or changed as the labels are read, a sentence each.
    same
        Images that occur more than once, a sentence each.
    alike
        Names of images that show one field: they share a side.
    unusable
        The number of further boxes, or annotations without any, that cannot be used; the notes say
        why.
    """

    images: int
    boxes: int
    aside: tuple[SetAside, ...]
    notes: tuple[str, ...]
    same: tuple[str, ...]
    alike: tuple[tuple[str, ...], ...]
    unusable: int

    def to_json(self) -> dict[str, Any]:
        aside = [
            {
                "image": one.name,
                "label": one.box.label,
                "xyxy_px": one.box.xyxy_px,
                "reason": one.reason,
                "why": one.why,
            }
            for one in self.aside
        ]
        return {**vars(self), "aside": aside}


def check_project(services: Services, project: int, on_progress: OnProgress) -> LabelCheck:
    """Check a project's corrections as its next run would, and all of its images.

    Raises
    ------
    NotFound
        There is no such project.
    """
    notes: list[str] = []
    labels = labels_of(services, project, notes.append)
    images = services.images.all(project)
    fingerprints = []
    for number, image in enumerate(images):
        on_progress(number, len(images))
        fingerprints.append(fingerprint(services, image))
    same = [
        f"{image.name} is shown by tasks {', '.join(map(str, shown))}: the newest correction counts"
        for image, shown in services.images.shown_twice(project)
    ]
    alike = _alike([image.name for image in images], fingerprints)
    unusable = sum(image.unusable for image in labels)
    return _check(labels, notes, same, alike, unusable, guard(labels))


def check_folder(folder: LabelledFolder, on_progress: OnProgress) -> LabelCheck:
    """Check a folder's labels as a training on it would."""
    fingerprints = []
    for number, image in enumerate(folder.images):
        on_progress(number, len(folder.images))
        fingerprints.append(fingerprint_of(image.read().pixels))
    alike = _alike([image.name for image in folder.images], fingerprints)
    # The notes already name a file that is there twice, since one of the two is left out.
    aside = folder.aside_as_annotated
    return _check(folder.labels, folder.notes, (), alike, folder.unusable, aside)


def _check(
    labels: Sequence[ImageLabels],
    notes: Iterable[str],
    same: Iterable[str],
    alike: tuple[tuple[str, ...], ...],
    unusable: int,
    aside: tuple[SetAside, ...],
) -> LabelCheck:
    boxes = sum(len(image.boxes) for image in labels)
    return LabelCheck(len(labels), boxes, aside, tuple(notes), tuple(same), alike, unusable)


def _alike(names: Sequence[str], fingerprints: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    groups = defaultdict(list)
    for name, group in zip(names, group_alike(fingerprints), strict=True):
        groups[group].append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)
