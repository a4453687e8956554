"""How likely a box of a score is right: a logistic curve over scores, shifted by contrast group.

The curve is Platt's (1999) on the logit of the score. It has two factors, which a few images
determine, and rises everywhere, so that no ranking changes. Without boxes the scores themselves are
taken for probabilities, and without images of a group its curve is the project's; the more boxes
and images there are, the farther the fit may depart from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from model.judging.pairing import Pairs
from model.reports import ReliabilityBin
from preprocessing.arrays import Boolean, Float32, Float64

#: How firmly slope and offset are held at 1 and 0: as by forty boxes near the middle. A box there
#: has 1/4 of a unit of information on the offset, and two logits away four times that on the slope.
_PRIOR = np.array([40.0, 10.0])
#: The curve is never flat or falling, whatever few boxes say: the order of the scores stays.
_LEAST_SLOPE = 0.1
#: A group of so many images gets half of the shift that its boxes ask for.
SHRINKING_IMAGES = 10
#: Bins of score in which scores are compared with the share of boxes that are right.
BINS = 10
#: Newton's steps at the most, and the length of the last: far below the rounding of the factors.
_STEPS, _STILL = 50, 1e-9
#: How near to 0 and 1 scores may come before their logit is taken.
_ENDS = 1e-6


@dataclass(frozen=True)
class Calibration:
    """The probability that a box is right: σ(slope · logit(score) + offset + shift).

    Parameters
    ----------
    shifts
        By contrast group; 0 for any other.
    """

    slope: float = 1.0
    offset: float = 0.0
    shifts: dict[str, float] = field(default_factory=dict)

    def probabilities(self, scores: Float32, group: str = "") -> Float32:
        """Return the probability of each box of a contrast group, in the order of the scores."""
        shift = self.offset + self.shifts.get(group, 0.0)
        if (self.slope, shift) == (1.0, 0.0):
            return scores
        return _sigmoid(self.slope * _logit(scores) + shift).astype(np.float32)

    def probability(self, score: float, group: str = "") -> float:
        """Return the probability of a box of one score."""
        return float(self.probabilities(np.array([score], np.float32), group)[0])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


def calibrate(pairs: Pairs, groups: Sequence[str]) -> Calibration:
    """Fit the curve to the boxes of images that the version did not learn from.

    Parameters
    ----------
    groups
        The contrast group of each image.
    """
    logits = _logit(pairs.scores)
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    known = np.zeros_like(logits)
    slope, offset = _fitted(design, known, pairs.right, np.array([1.0, 0.0]), _PRIOR).tolist()
    if slope < _LEAST_SLOPE:
        slope, known = _LEAST_SLOPE, _LEAST_SLOPE * logits
        (offset,) = _fitted(design[:, 1:], known, pairs.right, np.zeros(1), _PRIOR[1:]).tolist()
    curve = slope * logits + offset
    shifts = {group: _shift(curve, pairs, np.array(groups) == group) for group in set(groups)}
    return Calibration(round(slope, 4), round(offset, 4), dict(sorted(shifts.items())))


def reliability(scores: Float32, right: Boolean) -> tuple[ReliabilityBin, ...]:
    """Return mean score and share right in bins of equal width; empty ones are left out.

    Parameters
    ----------
    scores, right
        Shape (N,), of boxes in any order.
    """
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    return tuple(
        ReliabilityBin(float(scores[own].mean()), float(right[own].mean()), int(own.sum()))
        for own in (place == number for number in range(BINS))
        if own.any()
    )


def likely(calibration: Calibration, pairs: Pairs, groups: Sequence[str]) -> Float32:
    """Return the probability of each box, shape (N,), in the order of the pairs' scores.

    Parameters
    ----------
    groups
        The contrast group of each image.
    """
    of_box = np.array(groups)[pairs.image]
    found = np.zeros_like(pairs.scores)
    for group in set(groups):
        own = of_box == group
        found[own] = calibration.probabilities(pairs.scores[own], group)
    return found


def _shift(curve: Float64, pairs: Pairs, of_group: Boolean) -> float:
    """Return how far a group's curve is from the project's, shrunk where it has few images."""
    images = int(of_group.sum())
    if images == len(of_group):
        return 0.0
    own = of_group[pairs.image]
    design = np.ones((int(own.sum()), 1))
    (shift,) = _fitted(design, curve[own], pairs.right[own], np.zeros(1), np.ones(1))
    return round(float(shift) * images / (images + SHRINKING_IMAGES), 4)


def _fitted(
    design: Float64, known: Float64, right: Boolean, start: Float64, firmness: Float64
) -> Float64:
    """Return the factors of the most likely logistic curve under a Gaussian prior, by Newton steps.

    Parameters
    ----------
    design, known
        Shapes (N, K) and (N,): the logits are ``known + design @ factors``.
    right
        Shape (N,): whether each box is right.
    start, firmness
        Shape (K,): mean and inverse variance of the prior.
    """

    def loss(factors: Float64) -> float:
        curve = known + design @ factors
        held = 0.5 * float(firmness @ (factors - start) ** 2)
        return float((np.logaddexp(0, curve) - right * curve).sum()) + held

    found = start
    for _ in range(_STEPS):
        chance = _sigmoid(known + design @ found)
        downhill = design.T @ (chance - right) + firmness * (found - start)
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(firmness)
        step = np.linalg.solve(bend, downhill)
        while loss(found - step) > loss(found) and np.abs(step).max() > _STILL:
            step = step / 2
        found = found - step
        if np.abs(step).max() < _STILL:
            break
    return found


def _logit(scores: Float32) -> Float64:
    inside = np.clip(scores.astype(np.float64), _ENDS, 1 - _ENDS)
    return np.log(inside / (1 - inside))


def _sigmoid(values: Float64) -> Float64:
    return 1 / (1 + np.exp(-values))
