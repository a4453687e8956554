"""Which found box is which true cell: greedy, one to one, best score first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.boxes import Boolean, Detections, Float32, Int64, iou_matrix

IOU = 0.5


@dataclass(frozen=True)
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
        right = [pair(f.xyxy_px, t, iou) for f, t in zip(found, truth, strict=True)]
        scores = np.concatenate([np.zeros(0, np.float32), *(f.scores for f in found)])
        order = np.argsort(-scores, kind="stable")
        return cls(
            scores[order],
            np.concatenate([np.zeros(0, np.bool_), *right])[order],
            np.repeat(np.arange(len(found)), [len(f) for f in found])[order],
            np.array([len(t) for t in truth], np.int64),
        )

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


def pair(found: Float32, truth: Float32, iou: float = IOU) -> Boolean:
    """Say which found boxes are right: each takes the true box left that it overlaps most.

    Parameters
    ----------
    found
        Shape (N, 4), best score first.
    truth
        Shape (M, 4).
    iou
        Overlap that a pair needs.

    Returns
    -------
    Shape (N,). The answer for the first k boxes does not depend on the boxes after them.
    """
    overlaps = iou_matrix(found, truth)
    right = np.zeros(len(found), np.bool_)
    # Most rows overlap nothing: only those that could pair are walked through.
    for row in np.flatnonzero((overlaps >= iou).any(axis=1)):
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= iou:
            right[row] = True
            overlaps[:, best] = -1.0
    return right


def any_class(found: Detections) -> Detections:
    """Leave one box where several classes claim the same cell: the best of them.

    Boxes of one class are not compared: whether they are one cell was the detector's to decide.
    What is left of the first k boxes does not depend on the boxes after them.
    """
    if len(np.unique(found.labels)) < 2:
        return found
    boxes, keep = found.xyxy_px, np.ones(len(found), np.bool_)
    # Of two boxes that share more than half, each has the other's centre in it: of 40,000 boxes of
    # a large image few are compared.
    centres = (boxes[:, 0] + boxes[:, 2]) / 2
    across = np.argsort(centres)
    first = np.searchsorted(centres[across], boxes[:, 0])
    end = np.searchsorted(centres[across], boxes[:, 2], side="right")
    for row in range(len(found)):
        near = across[first[row] : end[row]]
        near = near[(near > row) & (found.labels[near] != found.labels[row])]
        if keep[row] and len(near):
            keep[near] &= iou_matrix(boxes[row : row + 1], boxes[near])[0] <= IOU
    return found.where(keep)
