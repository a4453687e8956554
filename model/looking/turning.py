"""A small image is looked at in all four quarter turns: up is as good as down, and four see more.

What is found in every turn is more surely a cell, and the mean of its boxes lies closer about it
(test-time augmentation; docs/accuracy.md has what it gains, docs/speed.md what it costs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.boxes import Detections, joined, overlapping
from model.rcnn.detecting import Detector
from preprocessing.arrays import Int64
from preprocessing.prepare import Prepared

QUARTERS = 4
#: IoU from which on boxes of several turns are about one cell. At 0.5 two cells that touch are too
#: often taken for one, at 0.6 one cell of a kind never seen for two.
SAME = 0.55


@dataclass(frozen=True)
class TurningDetector:
    """A detector that looks at each image that is small enough in four quarter turns.

    Parameters
    ----------
    turned_px
        Pixels of the largest image that is turned.
    """

    detector: Detector
    turned_px: int

    @property
    def classes(self) -> tuple[str, ...]:
        return self.detector.classes

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        """Find the cells of each image; see ``model.rcnn.detecting.Detector``."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Prepared) -> Detections:
        if image.pixels.size > self.turned_px:
            return self.detector.detect([image])[0]
        turned = [turn(image, quarters) for quarters in range(QUARTERS)]
        seen = zip(self.detector.detect(turned), turned, strict=True)
        return agreed([turned_back(*each, quarters) for quarters, each in enumerate(seen)])


def turn(image: Prepared, quarters: int) -> Prepared:
    """Return an image turned counter-clockwise by so many quarters, as ``np.rot90`` does."""
    sides = image.raw_height, image.raw_width
    height, width = sides[::-1] if quarters % 2 else sides
    pixels = np.ascontiguousarray(np.rot90(image.pixels, quarters))
    return replace(image, pixels=pixels, raw_height=height, raw_width=width)


def turned_back(found: Detections, turned: Prepared, quarters: int) -> Detections:
    """Return what was found in a turned image in pixels of the upright one."""
    edges, sides = found.xyxy_px, [turned.height, turned.width]
    for _ in range(quarters):
        left, top, right, bottom = edges.T
        edges = np.stack([sides[0] - bottom, left, sides[0] - top, right], axis=1)
        sides.reverse()
    return found.moved_to(edges)


def agreed(found: Sequence[Detections]) -> Detections:
    """Return the cells that several looks at one image found, best first.

    Boxes of one class about the same cell become their mean, weighted by score. Its score is the
    mean over the looks of the best of these boxes in each, 0 for a look that has none of them. So a
    box that caps cut in every look had no more than the best score cut in any; one that was cut in
    some looks alone is there, but fainter, and may fall below what counts untold.

    Parameters
    ----------
    found
        One for each look, in the same pixels; of the same classes.
    """
    every, look = joined(found)
    boxes, scores, firsts = [], [], []
    free, neighbours = np.ones(len(every), np.bool_), _neighbours(every)
    for first in range(len(every)):
        if free[first]:
            near = neighbours[first]
            same = near[free[near]]
            free[same] = False
            best = np.zeros(len(found))
            np.maximum.at(best, look[same], every.scores[same])
            boxes.append(np.average(every.xyxy_px[same], axis=0, weights=every.scores[same]))
            scores.append(best.mean())
            firsts.append(first)
    order = np.argsort(-np.array(scores), kind="stable")
    return replace(
        every,
        xyxy_px=np.array(boxes, np.float32).reshape(-1, 4)[order],
        scores=np.array(scores, np.float32)[order],
        labels=every.labels[firsts][order],
    )


def _neighbours(every: Detections) -> list[Int64]:
    """Return for each box the places of those of its class about the same cell, its own too."""
    places, others, _ = overlapping(every.xyxy_px, every.xyxy_px, SAME)
    alike = every.labels[places] == every.labels[others]
    ends = np.searchsorted(places[alike], np.arange(1, len(every)))
    return np.split(others[alike], ends)
