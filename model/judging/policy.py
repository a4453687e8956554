"""What is made of a version's boxes: which count, which are shown, and how sure they are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np

from model.boxes import Detections
from model.judging.calibration import Calibration
from model.judging.pairing import any_class
from model.versions import ModelVersion
from preprocessing.arrays import Boolean

#: Share of the threshold from which on a box that is not shown is in doubt.
NEAR_MISS = 0.5
#: Expected corrections at which the certainty of an image is one half.
HALF_SURE = 50


def version_of(served_name: str) -> str:
    """Return the id of the version that a served name begins with."""
    return served_name.partition("+")[0]


@dataclass(frozen=True)
class Policy:
    """What is made of a version's detections; it can change without a new version.

    Parameters
    ----------
    counted_from
        Score from which a box counts, and is shown in any case: the version's own, by which it was
        judged.
    shown_from
        Probability from which a box is shown; None: those that count are.
    calibration
        What turns scores into probabilities.
    cell_diameter_px
        Given to a version that would find the size of the cells by itself (see
        ``model.looking.loaded``); None: it finds it.
    """

    counted_from: float
    shown_from: float | None = None
    calibration: Calibration = field(default_factory=Calibration)
    cell_diameter_px: float | None = None

    @classmethod
    def of(cls, version: ModelVersion) -> Self:
        """Return the policy of a version of which no more is known: what counts is shown."""
        return cls(version.threshold)

    @property
    def id(self) -> str:
        """A short name, such as ``t0.41`` or ``p0.21-4be09a``.

        Two policies have the same only if they are equal, ``counted_from`` to six digits.
        """
        if self == Policy(self.counted_from):
            return f"t{self.counted_from:.6g}"
        content = self.to_json() | {"counted_from": f"{self.counted_from:.6g}"}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        shown = "" if self.shown_from is None else f"{self.shown_from:.2f}"
        return f"p{shown}-{digest[:6]}"

    @property
    def is_calibrated(self) -> bool:
        """Whether its probabilities were fitted to images; else the scores are taken for them."""
        return self.calibration != Calibration()

    def served_name(self, version: ModelVersion) -> str:
        """Return the name that Label Studio knows a version with this policy by."""
        return f"{version.id}+{self.id}"

    def counted_probability(self, group: str = "") -> float:
        """Return the probability from which a box of a contrast group counts."""
        return self.calibration.probability(self.counted_from, group)

    def shown(self, found: Detections, group: str = "") -> Detections:
        """Return the boxes that the user sees, each with its probability for its score.

        Where several classes claim one cell, the likeliest box is shown, and counts.

        Parameters
        ----------
        group
            The image's contrast group.
        """
        likely = self._likely(found, group)
        return any_class(likely.where(self._is_shown(found, likely)))

    def caps_reached(self, found: Detections, group: str = "") -> tuple[str, ...]:
        """Return the names of the limits that may have cut a box that the user would see."""
        least, likely = self._threshold(group), self.calibration.probability
        caps = found.caps_reached.items()
        return tuple(cap for cap, best in caps if likely(best, group) >= least)

    def certainty(self, found: Detections, group: str = "", weight: float = 1.0) -> float:
        """Return how little an image is expected to need, in (0, 1]: the score of its prediction.

        Label Studio's uncertainty sampling shows the lowest score first, and its page shows it as a
        percentage. It is 1 where no correction is expected, a half at :data:`HALF_SURE`.

        Parameters
        ----------
        weight
            How many times as much its corrections are worth as those of another image, such as in a
            contrast group of which few images were corrected.
        """
        return 1 / (1 + weight * self.corrections(found, group) / HALF_SURE)

    def corrections(self, found: Detections, group: str = "") -> float:
        """Return how many boxes of an image are expected to be wrong, or missing.

        Each by its probability: boxes that are shown may be wrong, near misses right. Where there
        are neither, the image is empty or all of it has to be drawn: one correction is assumed.
        """
        near = any_class(self._likely(found, group).above(NEAR_MISS * self._threshold(group)))
        if not len(near):
            return 1.0
        shown = self.shown(found, group).scores.astype(np.float64)
        missed = near.scores.sum(dtype=np.float64) - shown.sum()
        return float((1 - shown).sum() + missed)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        return cls(**{**values, "calibration": Calibration.from_json(values["calibration"])})

    def _threshold(self, group: str) -> float:
        counted = self.counted_probability(group)
        return counted if self.shown_from is None else min(self.shown_from, counted)

    def _likely(self, found: Detections, group: str) -> Detections:
        return replace(found, scores=self.calibration.probabilities(found.scores, group))

    def _is_shown(self, found: Detections, likely: Detections) -> Boolean:
        counts = found.scores >= self.counted_from
        return counts if self.shown_from is None else counts | (likely.scores >= self.shown_from)


def saves_time_from(add_s: float, delete_s: float, right_s: float) -> float:
    """Return the probability of being right from which showing a box saves time on average.

    Shown, a box costs ``right_s`` where it is right and ``delete_s`` where it is not. Not shown, it
    costs ``add_s`` where it would have been right. At the probability returned both cost the same.

    Parameters
    ----------
    add_s, delete_s
        Mean seconds to draw a box, and to delete one.
    right_s
        Mean seconds spent on a box that is on a cell: a glance, or moving or naming it.
    """
    saved = add_s - right_s
    return delete_s / (delete_s + saved) if saved > 0 else 1.0
