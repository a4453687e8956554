"""Boxes on cells, in pixels: one truth box, and what a detector found in one image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Boolean = NDArray[np.bool_]

#: The class of the boxes of a version that was never taught any.
CELL = "cell"


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
    def xyxy_px(self) -> tuple[float, float, float, float]:
        return self.xmin, self.ymin, self.xmax, self.ymax


@dataclass(frozen=True, slots=True)
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
        Names of the limits that cut this result (such as ``"detections_per_image"``); empty when
        nothing was lost. A cap reached is shown to the user, never silent.
    """

    xyxy_px: Float32
    scores: Float32
    labels: Int64
    classes: tuple[str, ...]
    caps_reached: tuple[str, ...] = ()

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> Detections:
        return cls(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), classes
        )

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, keep: Boolean) -> Detections:
        """Return the detections for which ``keep``, shape (N,), is true."""
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


def iou_matrix(first: Float32, second: Float32) -> Float32:
    """Return the intersection over union of every pair of boxes.

    Parameters
    ----------
    first, second
        Shapes (N, 4) and (M, 4), xyxy in the same pixels.

    Returns
    -------
    Shape (N, M), in [0, 1]; 0 where a box has no area.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=1) for b in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return np.asarray(overlap, np.float32)
