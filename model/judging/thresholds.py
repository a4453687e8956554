"""From which score a version's boxes count, chosen by images that do not judge."""

from __future__ import annotations

from collections.abc import Sequence

from model.judging.counting import (
    DEFAULT_THRESHOLD,
    between,
    counting_threshold,
    pairs_of,
    threshold_of,
)
from model.judging.evaluation import find_in
from model.labels.examples import DatasetSnapshot, LabelledImage, evenly
from model.looking.loaded import LoadedVersion

#: Images that are looked at: more add little to a threshold, and cost time.
_MOST = 40
#: Images that taught which are looked at too, and how many inner ones they weigh as much as.
_TAUGHT, _TAUGHT_WEIGH = 24, 8


def threshold_for(loaded: LoadedVersion, snapshot: DatasetSnapshot) -> float:
    """Choose the score from which boxes count.

    By the inner side, drawn towards what images that taught say, which weigh as much as eight inner
    ones: a few inner images alone choose badly (docs/evaluation.md). Where the inner images that
    are looked at have no cell, both sides choose together: images without cells do not show how
    many boxes are right.
    """
    inner = evenly(snapshot.of_side("inner"), _MOST)
    if not any(image.boxes for image in inner):
        both = _with_cells(snapshot.of_side("inner", "train"), _MOST)
        return counting_threshold(find_in(loaded, both)[0], both)
    taught = _with_cells(snapshot.of_side("train"), _TAUGHT)
    by_inner, by_taught = _chosen(loaded, inner), _chosen(loaded, taught)
    if by_inner is None or by_taught is None:
        return next((t for t in (by_inner, by_taught) if t is not None), DEFAULT_THRESHOLD)
    return between(by_inner, len(inner), by_taught, _TAUGHT_WEIGH)


def _chosen(loaded: LoadedVersion, images: Sequence[LabelledImage]) -> float | None:
    """Choose by these images; None where no box is right."""
    pairs = pairs_of(find_in(loaded, images)[0], images)
    return threshold_of(pairs) if pairs.right.any() else None


def _with_cells(images: Sequence[LabelledImage], number: int) -> Sequence[LabelledImage]:
    """Return so many of the images with cells, and others where there are too few of these."""
    known = sum(bool(image.boxes) for image in images)
    first = sorted(images, key=lambda image: not image.boxes)
    return evenly(first[: max(known, number)], number)
