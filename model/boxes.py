"""Boxes on cells, in pixels: one truth box, and what a detector found in one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from preprocessing.arrays import Boolean, Float32, Float64, Int64

AnyFloat = TypeVar("AnyFloat", np.float32, np.float64)

#: The class of the boxes of a version that was never taught any.
CELL = "cell"
#: Pairs of boxes that are looked at together, some 50 MB at the most, and of how many boxes.
_PAIRS_AT_ONCE, _ROWS_AT_ONCE = 1_000_000, 256


@dataclass(frozen=True, slots=True)
class Box:
    """One box: edges in pixels of the raw image, 0-based and half-open.

    A box that covers the pixels of columns 3, 4 and 5 has ``xmin=3`` and ``xmax=6``.
    """

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    label: str
    score: float | None = None

    @property
    def width(self) -> float:
        return self.xmax - self.xmin

    @property
    def height(self) -> float:
        return self.ymax - self.ymin

    @property
    def centre(self) -> tuple[float, float]:
        return (self.xmin + self.xmax) / 2, (self.ymin + self.ymax) / 2

    @property
    def xyxy_px(self) -> tuple[float, float, float, float]:
        return self.xmin, self.ymin, self.xmax, self.ymax


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector found in one image.

    Parameters
    ----------
    xyxy_px
        Shape (N, 4), edges in pixels, 0-based and half-open.
    scores
        Shape (N,), in [0, 1], descending.
    labels
        Shape (N,), indices into ``classes``.
    classes
        The names of the classes, in the order of the label indices.
    caps_reached
        Names of the limits that cut this result (such as ``"detections_per_image"``), those on
        proposals only where they cut what is likely a cell, each with the best score that a box
        may have had that was lost by it; empty when nothing was lost. Where that box would be shown
        (``model.judging.policy.Policy.caps_reached``), the user is told.
    """

    xyxy_px: Float32
    scores: Float32
    labels: Int64
    classes: tuple[str, ...]
    caps_reached: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> Detections:
        return cls(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), classes
        )

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, keep: Boolean | Int64) -> Detections:
        """Return the detections for which ``keep``, shape (N,), is true, or those at its places."""
        return replace(
            self, xyxy_px=self.xyxy_px[keep], scores=self.scores[keep], labels=self.labels[keep]
        )

    def above(self, threshold: float) -> Detections:
        """Return the detections that score ``threshold`` or more."""
        return self.where(self.scores >= threshold)

    def moved_to(self, xyxy_px: Float32) -> Detections:
        """Return the same detections with other edges, shape (N, 4)."""
        return replace(self, xyxy_px=np.asarray(xyxy_px, np.float32))

    def boxes(self) -> list[Box]:
        """Return the detections one by one, best first."""
        rows = zip(self.xyxy_px.tolist(), self.labels, self.scores.tolist(), strict=True)
        return [
            Box(xmin, ymin, xmax, ymax, self.classes[label], score)
            for (xmin, ymin, xmax, ymax), label, score in rows
        ]


def joined(found: Sequence[Detections]) -> tuple[Detections, Int64]:
    """Return the boxes of several as one, with the caps that any of them reached.

    Parameters
    ----------
    found
        At least one; in the same pixels, and of the same classes.

    Returns
    -------
    The boxes, best first, and shape (N,), whose each is: its place in ``found``.
    """
    scores = np.concatenate([each.scores for each in found])
    order = np.argsort(-scores, kind="stable")
    caps = sorted(cap for each in found for cap in each.caps_reached.items())
    every = Detections(
        np.concatenate([each.xyxy_px for each in found])[order],
        scores[order],
        np.concatenate([each.labels for each in found])[order],
        found[0].classes,
        dict(caps),  # of each name the last, which is the highest
    )
    return every, np.repeat(np.arange(len(found)), [len(each) for each in found])[order]


def edges_of(boxes: Iterable[Box]) -> Float32:
    """Return the edges of boxes as an array, shape (N, 4)."""
    return np.array([box.xyxy_px for box in boxes], np.float32).reshape(-1, 4)


def sides_of(xyxy_px: NDArray[AnyFloat], least_px: float = 0.0) -> NDArray[AnyFloat]:
    """Return √(width · height) of boxes, in the precision of their edges.

    Parameters
    ----------
    xyxy_px
        Shape (N, 4).
    least_px
        A width or height below this counts as this.

    Returns
    -------
    Shape (N,).
    """
    spans = np.clip(xyxy_px[:, 2:] - xyxy_px[:, :2], least_px, None)
    return np.asarray(np.sqrt(np.prod(spans, axis=1)))


def iou_matrix(first: Float32, second: Float32) -> Float64:
    """Return the intersection over union of every pair of boxes.

    In double precision, as COCO has it: boxes drawn to the pixel overlap by 0.6 or 0.75 to a hair.

    Parameters
    ----------
    first, second
        Shapes (N, 4) and (M, 4), xyxy in the same pixels.

    Returns
    -------
    Shape (N, M), in [0, 1]; 0 where a box has no area.
    """
    return _iou(first[:, None], second[None, :])


def iou_of_pairs(first: Float32, second: Float32) -> Float64:
    """Return the intersection over union of boxes two by two, as :func:`iou_matrix` does.

    Parameters
    ----------
    first, second
        Shape (N, 4) each, xyxy in the same pixels.

    Returns
    -------
    Shape (N,), in [0, 1]; 0 where a box has no area.
    """
    return _iou(first, second)


class FromLeft:
    """Boxes from left to right, so that those near a place are found without looking at all.

    Parameters
    ----------
    xyxy_px
        Shape (N, 4).
    """

    def __init__(self, xyxy_px: Float32) -> None:
        edges = xyxy_px.astype(np.float64)
        self._order = np.argsort(edges[:, 0], kind="stable")
        self._lefts = edges[self._order, 0]
        self._widest = (edges[:, 2] - edges[:, 0]).max(initial=0)

    def near(self, left: float, right: float) -> Int64:
        """Return the rows of all boxes that reach between two x, and of some that end before."""
        start, end = np.searchsorted(self._lefts, (left - self._widest, right))
        return self._order[start:end]


def overlapping(first: Float32, second: Float32, iou: float) -> tuple[Int64, Int64, Float64]:
    """Return the pairs of boxes that overlap by ``iou``, above 0, or more.

    Parameters
    ----------
    first, second
        Shapes (N, 4) and (M, 4), xyxy in the same pixels.

    Returns
    -------
    Shape (K,) each: the place in ``first``, ascending, that in ``second``, ascending for each of
    the first, and the intersection over union.
    """
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))]
    # From left to right, so that few boxes are near those of a part.
    rows = max(1, min(_ROWS_AT_ONCE, _PAIRS_AT_ONCE // max(1, len(second))))
    across, others = np.argsort(first[:, 0], kind="stable"), FromLeft(second)
    for part in np.split(across, range(rows, len(first), rows)):
        left, right = first[part, 0].min(initial=np.inf), first[part, 2].max(initial=-np.inf)
        near = others.near(left, right)
        near = near[second[near, 2] > left]
        overlaps = iou_matrix(first[part], second[near])
        row, column = np.nonzero(overlaps >= iou)
        found.append((part[row], near[column], overlaps[row, column]))
    places, partners, ious = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((partners, places))
    return places[order], partners[order], ious[order]


def _iou(first: Float32, second: Float32) -> Float64:
    """Return the intersection over union of boxes of shapes (…, 4) that are broadcast."""
    boxes = first.astype(np.float64), second.astype(np.float64)
    shared = _shared_px(*boxes, 0) * _shared_px(*boxes, 1)
    areas = [np.prod(np.clip(b[..., 2:] - b[..., :2], 0, None), axis=-1) for b in boxes]
    union = areas[0] + areas[1] - shared
    overlap: Float64 = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def _shared_px(first: Float64, second: Float64, axis: int) -> Float64:
    """Return how much of x (axis 0) or y (1) boxes share with one another."""
    low = np.maximum(first[..., axis], second[..., axis])
    high = np.minimum(first[..., axis + 2], second[..., axis + 2])
    return np.asarray(np.clip(high - low, 0, None))
