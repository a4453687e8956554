"""What two detectors of different kinds find in one image, put together.

A starter that meets cells of a kind it has never seen errs otherwise than the classical detector,
which goes by shape and outline alone: together they are better than either (docs/starter.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.boxes import Detections, joined, overlapping
from model.rcnn.detecting import Detector
from preprocessing.prepare import Prepared

#: Overlap from which on two boxes are about one cell.
SAME = 0.5
#: How many times likelier a cell becomes by the second's full agreement, less one. More trust finds
#: more nuclei of a kind never seen, but counts what both see faintly in noise.
TRUST = 3.0
#: What the second's score weighs where it is alone: that makes no box count, since a starter's
#: threshold is above it (tests/model/looking/test_second_opinion.py), but it may be shown.
ALONE = 0.3
#: Its part in the edges of a box that both have found.
PART = 0.3


@dataclass(frozen=True)
class SecondedDetector:
    """A detector with a second opinion; both know the same one class.

    Parameters
    ----------
    first
        Whose boxes and scores are believed.
    second
        Whose agreement makes them surer, and which adds what the first does not see.
    """

    first: Detector
    second: Detector

    @property
    def classes(self) -> tuple[str, ...]:
        return self.first.classes

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        """Find the cells of each image; see ``model.rcnn.detecting.Detector``."""
        found = zip(self.first.detect(images), self.second.detect(images), strict=True)
        return [together(first, second) for first, second in found]


def together(first: Detections, second: Detections) -> Detections:
    """Return the boxes of both, one where they are about one cell.

    Where the second agrees with a score q, the odds of a box of the first are 1 + TRUST · q times
    what they were, and it is no less likely than if the second alone had seen it. Each box of the
    second goes with one of the first, the surest first that overlap well; what overlaps a box
    that is taken is left out.
    """
    edges, scores = first.xyxy_px.copy(), first.scores.copy()
    ours, theirs, overlaps = overlapping(first.xyxy_px, second.xyxy_px, SAME)
    free, alone = np.ones(len(first), np.bool_), np.ones(len(second), np.bool_)
    by_itself = ALONE * second.scores
    for pair in np.argsort(-overlaps * first.scores[ours], kind="stable"):
        one, other = ours[pair], theirs[pair]
        if free[one] and alone[other]:
            edges[one] += PART * (second.xyxy_px[other] - edges[one])
            agreed = _likelier(scores[one], 1 + TRUST * second.scores[other])
            scores[one] = max(agreed, by_itself[other])
            free[one] = False
        alone[other] = False
    believed = replace(first, xyxy_px=edges, scores=scores)
    return joined([believed, replace(second, scores=by_itself).where(alone)])[0]


def _likelier(probability: float, times: float) -> float:
    """Return the probability of odds so many times as high."""
    return probability * times / (1 + probability * (times - 1))
