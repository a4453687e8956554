"""Which of a detector's boxes are shown, and how doubtful an image is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from model.boxes import Detections
from model.versions import ModelVersion

#: Boxes from this share of the threshold on are near enough to it to count as doubt.
NEAR_MISS = 0.5


def version_of(served_name: str) -> str:
    """Return the id of the version that a served name begins with."""
    return served_name.partition("+")[0]


@dataclass(frozen=True)
class Policy:
    """What is made of a version's detections; it can change without a new version.

    Parameters
    ----------
    threshold
        Score from which a box is shown and counted.
    """

    threshold: float

    @classmethod
    def of(cls, version: ModelVersion) -> Self:
        return cls(version.threshold)

    @property
    def id(self) -> str:
        """The same for equal policies alone, such as ``t0.41``."""
        return f"t{self.threshold:.6g}"

    def served_name(self, version: ModelVersion) -> str:
        """Return the name that Label Studio knows a version with this policy by."""
        return f"{version.id}+{self.id}"

    def shown(self, found: Detections) -> Detections:
        """Return the boxes that the user sees."""
        return found.above(self.threshold)

    def certainty(self, found: Detections) -> float:
        """Return how sure the detector is of an image, in [0, 1]: the score of its prediction.

        Label Studio's uncertainty sampling shows the lowest score first. It is the mean distance of
        the scores from the threshold, as a share of the largest possible distance on that side,
        over the shown boxes and the near misses; 1 where there is neither.
        """
        scores = found.scores[found.scores >= NEAR_MISS * self.threshold].astype(np.float64)
        if not len(scores):
            return 1.0
        distance = np.abs(scores - self.threshold)
        room = np.where(scores >= self.threshold, 1 - self.threshold, self.threshold)
        return float(np.mean(distance / np.maximum(room, 1e-9)).clip(0, 1))
