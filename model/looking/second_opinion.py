"""What two detectors of different kinds find in one image, put together.

On cells of a kind that it has never seen a starter makes other errors than the classical detector,
which goes by shape and outline alone: together they are better than either (docs/starter.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.boxes import Detections, joined, overlapping
from model.rcnn.detecting import Detector
from preprocessing.prepare import Prepared

#: IoU from which on two boxes are about one cell.
SAME = 0.5
#: The second's full agreement multiplies the odds of a cell by one more than this. More trust finds
#: more nuclei of a kind never seen, but counts what both see faintly in noise.
TRUST = 3.0
#: Weight of the second's score where it is alone: too little for a box to count, since a starter's
#: threshold is higher (tests/model/looking/test_second_opinion.py), but it may be shown.
ALONE = 0.3
#: The second's part in the edges of a box that both have found.
PART = 0.3


@dataclass(frozen=True)
class SecondedDetector:
    """A detector with a second opinion; both know the same one class.

    Parameters
    ----------
    first
        Its boxes and scores are believed.
    second
        Its agreement makes them surer, and it adds what the first does not see.
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

    Where the second agrees with a score q, the odds of a box of the first are multiplied by
    1 + TRUST · q, and it is no less likely than if the second alone had seen it. Each box is paired
    once at the most, the pairs of surest and closest boxes first; a box of the second that overlaps
    a box paired with another is left out.
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
    # Agreement may have made a box that a cap cut likelier too.
    caps = {cap: _likelier(best, 1 + TRUST) for cap, best in first.caps_reached.items()}
    believed = replace(first, xyxy_px=edges, scores=scores, caps_reached=caps)
    return joined([believed, replace(second, scores=by_itself).where(alone)])[0]


def _likelier(probability: float, times: float) -> float:
    """Return the probability whose odds are ``times`` those of this one."""
    return probability * times / (1 + probability * (times - 1))
