"""Which found box is which true cell: greedy, one to one, best score first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.boxes import Detections, overlapping
from preprocessing.arrays import Boolean, Float32, Int64

#: Overlap from which on a box is right.
IOU = 0.5


@dataclass(frozen=True, eq=False)
class Pairs:
    """The boxes found in many images, best score first, and which of them are right.

    Parameters
    ----------
    scores, right, image
        Shape (N,): score, whether the box is right, and the index of its image. Of equal scores
        the box of the earlier image comes first, as COCO has it.
    cells
        Shape (images,), how many true boxes each image has.
    """

    scores: Float32
    right: Boolean
    image: Int64
    cells: Int64

    @classmethod
    def of(cls, found: Sequence[Detections], truth: Sequence[Float32], iou: float = IOU) -> Pairs:
        """Pair the boxes of each image with its true boxes, shape (M, 4) each."""
        return cls.at(found, truth, (iou,))[0]

    @classmethod
    def at(
        cls, found: Sequence[Detections], truth: Sequence[Float32], ious: Sequence[float]
    ) -> list[Pairs]:
        """Pair them at each of several IoUs; boxes are compared once for all."""
        right = [_pair(f.xyxy_px, t, ious) for f, t in zip(found, truth, strict=True)]
        scores = np.concatenate([np.zeros(0, np.float32), *(f.scores for f in found)])
        order = np.argsort(-scores, kind="stable")
        image = np.repeat(np.arange(len(found)), [len(f) for f in found])[order]
        cells = np.array([len(t) for t in truth], np.int64)
        of_all = np.concatenate([np.zeros((len(ious), 0), np.bool_), *right], axis=1)[:, order]
        return [cls(scores[order], each, image, cells) for each in of_all]

    def above(self, threshold: float) -> Pairs:
        """Return the pairs of the boxes that score ``threshold`` or more."""
        number = int((self.scores >= threshold).sum())
        return Pairs(self.scores[:number], self.right[:number], self.image[:number], self.cells)

    def among(self, images: Sequence[int]) -> Pairs:
        """Return the pairs of some images alone, which are numbered anew in the order given."""
        renumbered = np.full(len(self.cells), -1, np.int64)
        renumbered[list(images)] = np.arange(len(images))
        image = renumbered[self.image]
        kept = image >= 0
        return Pairs(self.scores[kept], self.right[kept], image[kept], self.cells[list(images)])

    @property
    def counts(self) -> Int64:
        """How many boxes each image has, shape (images,)."""
        return np.bincount(self.image, minlength=len(self.cells))


def any_class(found: Detections) -> Detections:
    """Keep only the best box where several classes claim the same cell.

    Boxes of one class are not compared: the detector has decided whether they are one cell. Which
    of the first k boxes are kept does not depend on the boxes after them.
    """
    if len(np.unique(found.labels)) < 2:
        return found
    better, worse, overlaps = overlapping(found.xyxy_px, found.xyxy_px, IOU)
    rivals = (better < worse) & (found.labels[better] != found.labels[worse]) & (overlaps > IOU)
    keep = np.ones(len(found), np.bool_)
    for one, other in zip(better[rivals], worse[rivals], strict=True):
        keep[other] &= not keep[one]
    return found.where(keep)


def _pair(found: Float32, truth: Float32, ious: Sequence[float]) -> Boolean:
    """Say at each of several IoUs which found boxes are right.

    Each box, best first, takes of the true boxes that are left the one that it overlaps most.

    Parameters
    ----------
    found
        Shape (N, 4), best score first.
    truth
        Shape (M, 4).

    Returns
    -------
    Shape (ious, N). What holds for the first k boxes does not depend on the boxes after them.
    """
    places, cells, overlaps = overlapping(found, truth, min(ious))
    # Of cells that it overlaps equally a box takes the last, as COCO does.
    best = np.lexsort((-cells, -overlaps, places))
    right = np.zeros((len(ious), len(found)), np.bool_)
    for row, iou in zip(right, ious, strict=True):
        near = best[overlaps[best] >= iou]
        taken = np.zeros(len(truth), np.bool_)
        for place, cell in zip(places[near].tolist(), cells[near].tolist(), strict=True):
            if not (row[place] or taken[cell]):
                row[place] = taken[cell] = True
    return right
