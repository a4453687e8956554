"""Forecasts what the next milestone brings, by a power law through the effort so far.

The effort with versions that learned from n images is assumed to fall as a·n^(−b), as learning
curves of detectors do over the range that matters (Hestness et al. 2017). The fit is a line through
logarithms, weighted by cells; resampling the images gives its uncertainty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from model.judging.resampling import SEED, draw_weights, interval
from model.reports import Interval
from preprocessing.arrays import Float64

#: Corrections a cell that the next milestone must be expected to save for more labelling to pay
#: through learning: two in a hundred cells.
WORTH = 0.02
#: The least effort: a version without a single correction would have no logarithm.
HALF_AN_ACTION = 0.5
FEWEST_MILESTONES = 2
#: The fewest images of each version: resamples of fewer hardly vary, which would hide the doubt.
FEWEST_WITH_CELLS = 5

#: Why there is no forecast.
LAST = "no milestone is to come"
TOO_FEW = (
    "too early to say: it takes five images corrected with each of two versions trained by the "
    "project's runs"
)
UNTAUGHT = "not to be told of a champion that no run of the project trained"

Verdict = Literal["go on", "unsure", "stop"]


@dataclass(frozen=True)
class ImageWork:
    """Actions and cells of one image, summed over all who corrected it."""

    actions: int
    cells: int


@dataclass(frozen=True)
class Forecast:
    """What is expected at the next milestone.

    Parameters
    ----------
    at
        Corrected images.
    now, then
        Expected actions a cell with the present champion, and after the milestone.
    between
        95 % interval of ``then``.
    gain
        95 % interval of what the milestone saves, in actions a cell; negative if the effort rises.
    enough_at
        Number of corrected images from which no further milestone is expected to save ``WORTH``.
    """

    at: int
    now: float
    then: float
    between: Interval
    gain: Interval
    enough_at: int

    @property
    def verdict(self) -> Verdict:
        """Whether to label more for the sake of learning.

        Enough is learned if the whole interval is near zero. A rising effort means that the images
        became harder, not that nothing more can be learned.
        """
        if self.now - self.then >= WORTH:
            return "go on"
        return "stop" if self.gain.low > -WORTH and self.gain.high < WORTH else "unsure"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict}


def forecast(
    by_milestone: Mapping[int, Sequence[ImageWork]], learned: int, coming: Sequence[int]
) -> Forecast | str:
    """Fit the curve and read it off at the next milestone.

    For the expected effort a rising curve is held level, since more images do not make a detector
    worse. The gain is not: it shows what was seen.

    Parameters
    ----------
    by_milestone
        By the number of images that a version had learned from, the images corrected with it.
    learned
        The number of images that the champion has learned from; 0 if no run of the project trained
        it.
    coming
        The next milestones, ascending.

    Returns
    -------
    The forecast, or why there is none: ``LAST``, ``TOO_FEW`` or ``UNTAUGHT``.
    """
    known = {n: part for n, part in by_milestone.items() if n > 0 and _is_enough(part)}
    if not coming:
        return LAST
    if len(known) < FEWEST_MILESTONES:
        return TOO_FEW
    if learned < 1:
        return UNTAUGHT
    milestones = sorted(known)
    sums = [_resampled(known[n], SEED + n) for n in milestones]  # each resampled by itself
    n = np.log(np.array(milestones, np.float64))
    seen = _fit(n, *(np.stack([s[i] for s in sums], axis=1) for i in (0, 1)))
    held = replace(seen, slope=np.minimum(seen.slope, 0.0))
    at = coming[0]
    now, then = held.at(learned), held.at(at)
    between, gain = interval(then[1:]), interval((seen.at(learned) - seen.at(at))[1:])
    assert between is not None
    assert gain is not None
    enough = _enough_at(held, learned, coming)
    return Forecast(at, float(now[0]), float(then[0]), between, gain, enough)


@dataclass(frozen=True)
class _Curves:
    """Lines through logarithms, each by a middle point and a slope; arrays of shape (R,)."""

    middle: Float64
    level: Float64
    slope: Float64

    def at(self, images: int) -> Float64:
        """Return the actions a cell after a number of images, shape (R,)."""
        effort: Float64 = np.exp(self.level + self.slope * (np.log(images) - self.middle))
        return effort


def _is_enough(images: Sequence[ImageWork]) -> bool:
    return sum(image.cells > 0 for image in images) >= FEWEST_WITH_CELLS


def _resampled(images: Sequence[ImageWork], seed: int) -> tuple[Float64, Float64]:
    """Return the sums of actions and cells: first of the images, then of each resample."""
    weights = np.vstack([np.ones(len(images)), draw_weights(len(images), seed=seed)])
    sums = weights @ np.array([[i.actions, i.cells] for i in images], np.float64)
    return sums[:, 0], np.maximum(sums[:, 1], 1.0)


def _fit(n: Float64, actions: Float64, cells: Float64) -> _Curves:
    """Return the weighted line through the logarithms of each row.

    Parameters
    ----------
    n
        Shape (M,), logarithm of the number of images learned from.
    actions, cells
        Shape (R, M).
    """
    effort = np.log(np.maximum(actions, HALF_AN_ACTION) / cells)
    weights = cells / cells.sum(axis=1, keepdims=True)
    middle, level = weights @ n, (weights * effort).sum(axis=1)
    away = n - middle[:, None]
    slope = (weights * away * effort).sum(axis=1) / (weights * away**2).sum(axis=1)
    return _Curves(middle, level, slope)


def _enough_at(curves: _Curves, learned: int, coming: Sequence[int]) -> int:
    steps = (learned, *coming)
    efforts = np.array([curves.at(images)[0] for images in steps])
    saving = np.flatnonzero(efforts[:-1] - efforts[1:] >= WORTH)
    return steps[int(saving[-1]) + 1] if len(saving) else learned
