"""The nested regions above rising thresholds, and the best set of them that do not overlap.

No single threshold suits all cells of an image, but in the tree of regions above each threshold
every cell is whole somewhere (after Arteta et al., "Learning to detect cells using non-overlapping
extremal regions", MICCAI 2012; here nothing is learned).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.measure import label

from model.classical.regions import Labels, Regions, View
from preprocessing.arrays import Boolean, Float64, Int64

#: Thresholds spread evenly over the range of levels, and over the pixels.
EVEN_STEPS, QUANTILE_STEPS = 9, 7
#: Thresholds closer than this part of the range give much the same regions.
FINEST_STEP = 0.012


@dataclass(frozen=True, eq=False)
class Floor:
    """The N regions above one threshold, without holes.

    Parameters
    ----------
    labels
        Shape (H, W), 1 to N.
    parents
        Shape (N,): index, from 0, of the region of the floor below that holds each.
    """

    labels: Labels
    regions: Regions
    parents: Int64


def nest(view: View) -> list[Floor]:
    """Return the regions above each threshold, from the lowest threshold up."""
    floors: list[Floor] = []
    for threshold in _thresholds(view.levels):
        labels, number = _filled(view.levels > threshold)
        if not number:
            continue
        pixels, first = np.unique(labels, return_index=True)
        first = first[pixels > 0]
        below = floors[-1].labels.ravel()[first] - 1 if floors else np.zeros(number)
        regions = Regions.measure(labels, number, view.gradient)
        floors.append(Floor(labels, regions, below.astype(np.int64)))
    return floors


def choose(floors: Sequence[Floor], scores: Sequence[Float64]) -> list[Boolean]:
    """Say which regions are the best that do not overlap.

    A region is chosen over those within it where it scores no less than the mean, by area, of the
    best of them, so that neither many small ones nor few large ones are favoured.

    Parameters
    ----------
    scores
        One array for each floor, shape (N,), in [0, 1].

    Returns
    -------
    One array for each floor, shape (N,).
    """
    better = []
    within: Float64 = np.zeros(len(scores[-1])) if scores else np.zeros(0)
    for row in range(len(floors) - 1, -1, -1):
        better.append((scores[row] >= within) & (scores[row] > 0))
        if row:
            best = np.maximum(scores[row], within)
            within = _mean_by_parent(floors[row], best, len(scores[row - 1]))
    return _without_those_within(floors, better[::-1])


def paint(
    floors: Sequence[Floor], chosen: Sequence[Boolean], scores: Sequence[Float64]
) -> tuple[Labels, Float64]:
    """Return the chosen regions as one label image, shape (H, W), and their scores, shape (N,)."""
    canvas = np.zeros(floors[0].labels.shape, np.int32)
    number = 0
    for floor, picked in zip(floors, chosen, strict=True):
        renamed = np.zeros(len(picked) + 1, np.int32)
        renamed[1:][picked] = np.arange(number, number + picked.sum()) + 1
        number += int(picked.sum())
        canvas += renamed[floor.labels]
    return canvas, np.concatenate([s[p] for s, p in zip(scores, chosen, strict=True)])


def _thresholds(levels: Float64) -> list[float]:
    low, high = np.percentile(levels, [0.5, 99.8])
    even = np.linspace(low, high, EVEN_STEPS + 2)[1:-1]
    quantiles = np.quantile(levels, np.linspace(0, 1, QUANTILE_STEPS + 2)[1:-1])
    kept: list[float] = []
    for threshold in np.sort(np.concatenate([even, quantiles])):
        if not kept or threshold - kept[-1] > FINEST_STEP * (high - low):
            kept.append(float(threshold))
    return kept


def _filled(mask: Boolean) -> tuple[Labels, int]:
    """Label the parts of a mask, with the holes in them filled."""
    holes = label(~mask, connectivity=1)  # type: ignore[no-untyped-call]
    open_to_border = np.zeros(holes.max() + 1, np.bool_)
    for side in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        open_to_border[side] = True
    open_to_border[0] = False
    labels, number = label(  # type: ignore[no-untyped-call]
        ~open_to_border[holes], connectivity=1, return_num=True
    )
    return labels.astype(np.int32), int(number)


def _mean_by_parent(floor: Floor, best: Float64, parents: int) -> Float64:
    area = np.where(best > 0, floor.regions.area, 0.0)
    total = np.bincount(floor.parents, area * best, parents)
    weight = np.bincount(floor.parents, area, parents)
    return np.divide(total, weight, out=np.zeros(parents), where=weight > 0)


def _without_those_within(floors: Sequence[Floor], better: Sequence[Boolean]) -> list[Boolean]:
    chosen: list[Boolean] = []
    covered = np.zeros(1, np.bool_)
    for floor, candidates in zip(floors, better, strict=True):
        inherited = covered[floor.parents]
        chosen.append(candidates & ~inherited)
        covered = inherited | candidates
    return chosen
