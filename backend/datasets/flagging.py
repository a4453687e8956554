"""Flags images by what all annotations of a project say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from backend.datasets.known_image import SKIPPED, KnownImage
from backend.labelstudio.annotation import Annotation
from backend.services import Services
from backend.store.corrections import Correction
from model.labels.label_guard import ImageLabels, SetAside, guard, summary
from preprocessing.images import PageKey


def flag_aside(read: Sequence[tuple[KnownImage, ImageLabels]]) -> list[KnownImage]:
    """Flag each corrected image that has boxes that look wrong; the boxes stay."""
    corrected = [(place, labels) for place, (known, labels) in enumerate(read) if known.corrected]
    aside = defaultdict(list)
    for one in guard([labels for _, labels in corrected]):
        aside[corrected[one.image][0]].append(one)
    return [_with_aside(known, aside[place]) for place, (known, _) in enumerate(read)]


def _with_aside(known: KnownImage, aside: Sequence[SetAside]) -> KnownImage:
    if not aside:
        return known
    return replace(known.flagged(summary(aside)), aside=tuple(aside))


def is_unopened(services: Services, done: Correction) -> bool:
    """Tell whether an annotation was made outside any page and never updated in one."""
    if done.start != "import":
        return False
    # Accepted boxes and boxes of a folder come without seconds. Those of Label Studio's own export
    # come with the seconds of whoever drew them there.
    is_timed = not done.served and not services.annotations.is_brought_in(done.annotation)
    return len(done.totals_s) <= is_timed


def is_exchanged(annotation: Annotation, exchanged: Mapping[int, datetime]) -> bool:
    """Tell whether an annotation is older than what its task shows, and so may be of another image.

    Parameters
    ----------
    exchanged
        By task that showed another image before, since when it shows the one that it shows now.
    """
    since = exchanged.get(annotation.task)
    return since is not None and annotation.updated_at < since


def flag_differing(
    services: Services, project: int, done: Sequence[Correction], known: Sequence[KnownImage]
) -> list[KnownImage]:
    """Flag each corrected image for which annotators submitted different numbers of boxes."""
    images = services.images.of_tasks(project)
    submitted = defaultdict[PageKey, dict[str, int]](dict)
    for each in sorted(done, key=lambda each: each.submitted_at):
        image = images.get(each.task)
        if image and not is_unopened(services, each):
            submitted[image.key][each.annotator] = each.cells
    flags = {
        key: _differing(cells) for key, cells in submitted.items() if len(set(cells.values())) > 1
    }
    return [
        one.flagged(flags[one.stored.key]) if one.corrected and one.stored.key in flags else one
        for one in known
    ]


def _differing(cells: Mapping[str, int]) -> str:
    numbers = " and ".join(map(str, cells.values()))
    return f"{len(cells)} annotators, {numbers} boxes: the newest counts"


def flag_skipped(services: Services, project: int, known: list[KnownImage]) -> list[KnownImage]:
    """Flag each image that its annotators skipped and nobody corrected."""
    tasks = services.annotations.skipped_tasks(project)
    shown = (services.images.of_task(project, task) for task in tasks)
    skipped = {image.key for image in shown if image}
    return [
        _skipped(one) if not one.corrected and one.stored.key in skipped else one for one in known
    ]


def _skipped(known: KnownImage) -> KnownImage:
    """Flag an image and drop its range: it is unlike the images that judged."""
    return replace(known, counted=replace(known.counted, judged={})).flagged(SKIPPED)
