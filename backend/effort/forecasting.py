"""What the next milestone is expected to bring: a power law through the effort so far.

The effort with versions that learned from n images is taken to fall as a·n^(−b), as learning
curves of detectors do over the range that matters (Hestness et al. 2017). It is fitted as a line
through logarithms, weighted by cells; how sure it is comes from resampling the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from model.reports import Interval
from model.resampling import SEED, Float64, draw_weights, interval

#: Corrections a cell that the next milestone must be expected to save for more labelling to pay
#: by what is learned: two in a hundred cells.
WORTH = 0.02
#: A version without a single correction would have no logarithm.
HALF_AN_ACTION = 0.5
FEWEST_MILESTONES = 2

Verdict = Literal["go on", "unsure", "stop"]


@dataclass(frozen=True)
class ImageWork:
    """Actions and cells of one image."""

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
        95 % interval of ``then``; None of a single image.
    gain
        95 % interval of what the milestone saves, in actions a cell.
    enough_at
        Corrected images from which on no further milestone is expected to save ``WORTH``.
    """

    at: int
    now: float
    then: float
    between: Interval
    gain: Interval
    enough_at: int

    @property
    def verdict(self) -> Verdict:
        """Whether to label on for the sake of learning."""
        if self.now - self.then >= WORTH:
            return "go on"
        return "stop" if self.gain.high < WORTH else "unsure"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict}


def forecast(
    by_milestone: Mapping[int, Sequence[ImageWork]], learned: int, coming: Sequence[int]
) -> Forecast | None:
    """Fit the curve and read it off at the next milestone.

    Parameters
    ----------
    by_milestone
        For each number of images that a version had learned from, the images corrected with it.
    learned
        How many images the champion has learned from.
    coming
        The next milestones, ascending.

    Returns
    -------
    None while fewer than two learned versions have been corrected, or no milestone is to come.
    """
    known = {n: part for n, part in by_milestone.items() if n > 0 and any(i.cells for i in part)}
    if len(known) < FEWEST_MILESTONES or not coming or learned < 1:
        return None
    milestones = sorted(known)
    sums = [_resampled(known[n], SEED + n) for n in milestones]  # each drawn by itself
    n = np.log(np.array(milestones, np.float64))
    actions, cells = (np.stack([s[i] for s in sums], axis=1) for i in (0, 1))
    level, slope = _fit(n, actions, cells)
    at = coming[0]
    now, then = (np.exp(level + slope * np.log(x)) for x in (learned, at))
    between, gain = interval(then[1:]), interval((now - then)[1:])
    assert between is not None
    assert gain is not None
    enough = _enough_at(float(level[0]), float(slope[0]), learned, coming)
    return Forecast(at, float(now[0]), float(then[0]), between, gain, enough)


def _resampled(images: Sequence[ImageWork], seed: int) -> tuple[Float64, Float64]:
    """Return the sums of actions and cells: as they are first, then of each resample."""
    weights = np.vstack([np.ones(len(images)), draw_weights(len(images), seed=seed)])
    sums = weights @ np.array([[i.actions, i.cells] for i in images], np.float64)
    return sums[:, 0], np.maximum(sums[:, 1], 1.0)


def _fit(n: Float64, actions: Float64, cells: Float64) -> tuple[Float64, Float64]:
    """Return level and slope of the weighted line through the logarithms, one each a row.

    A curve that rises is held level: more images do not teach a detector to be worse.

    Parameters
    ----------
    n
        Shape (M,), logarithm of the images learned from.
    actions, cells
        Shape (R, M).
    """
    effort = np.log(np.maximum(actions, HALF_AN_ACTION) / cells)
    weights = cells / cells.sum(axis=1, keepdims=True)
    middle, mean = weights @ n, (weights * effort).sum(axis=1)
    away = n - middle[:, None]
    slope = (weights * away * effort).sum(axis=1) / (weights * away**2).sum(axis=1)
    slope = np.minimum(slope, 0.0)
    return mean - slope * middle, slope


def _enough_at(level: float, slope: float, learned: int, coming: Sequence[int]) -> int:
    steps = (learned, *coming)
    efforts = np.exp(level + slope * np.log(np.array(steps, np.float64)))
    saving = np.flatnonzero(efforts[:-1] - efforts[1:] >= WORTH)
    return steps[int(saving[-1]) + 1] if len(saving) else learned
