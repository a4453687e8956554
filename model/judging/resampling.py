"""How sure a figure is: the bootstrap over images (Efron 1979), percentile intervals.

A resample draws as many images as there are, with replacement. It is held as a weight of each image
(how often it was drawn), so that boxes are paired once and every resample is a weighted sum. Two
versions that were judged on the same images are compared by the same weights
(``model.judging.evidence``): hard images are then hard for both, and the interval of the difference
is narrower.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from model.judging.pairing import Pairs
from model.reports import Interval
from preprocessing.arrays import Float32, Float64, Int64

RESAMPLES = 1000
SEED = 20261124
LEVEL = 0.95
#: COCO's points of recall.
RECALLS = np.linspace(0, 1, 101)
#: Right boxes times resamples that are handled together; they take some 15 MB.
AT_ONCE = 1_000_000


def draw_weights(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> Float64:
    """Return how often each image is drawn in each resample, shape (resamples, images)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), resamples).astype(np.float64)


def precision_curves(pairs: Pairs, weights: Float64) -> Float64:
    """Return COCO's precision at each of its 101 points of recall.

    Parameters
    ----------
    weights
        Shape (R, images): how often each image counts.

    Returns
    -------
    Shape (R, 101), in [0, 1]; NaN in rows without a true box.
    """
    at_once = max(1, AT_ONCE // max(1, int(pairs.right.sum())))
    parts = [_curves(pairs, weights[block]) for block in _blocks(len(weights), at_once)]
    return np.concatenate(parts)


def resampled_ap(pairs: Pairs, weights: Float64) -> Float64:
    """Return the average precision of each resample, shape (R,); NaN without a true box.

    At the IoU at which the boxes were paired.
    """
    means: Float64 = precision_curves(pairs, weights).mean(axis=1)
    return means


def resampled_mean_ap(of_classes: Sequence[Pairs], weights: Float64) -> Float64:
    """Return the mean over the classes of each resample's average precision, shape (R,).

    A resample that lacks the cells of a rare class has the mean of the others; one that has no
    cell at all has NaN.
    """
    each = [resampled_ap(pairs, weights) for pairs in of_classes]
    values = np.array(each).reshape(-1, len(weights))
    known = ~np.isnan(values)
    number, total = known.sum(axis=0), np.where(known, values, 0).sum(axis=0)
    mean: Float64 = np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)
    return mean


def count_error(predicted: Int64, true: Int64, weights: Float64) -> Float64:
    """Return Σ|predicted − true| / Σ true of each resample, shape (R,).

    Parameters
    ----------
    predicted, true
        Shape (images,).
    """
    error: Float64 = weights @ np.abs(predicted - true) / np.maximum(weights @ true, 1)
    return error


def interval(values: Float64, level: float = LEVEL) -> Interval | None:
    """Return the middle ``level`` of a figure's resamples, shape (R,); None where all are NaN."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _curves(pairs: Pairs, weights: Float64) -> Float64:
    # A box of an image drawn twice stands once in the order, with weight 2. Where it is right, the
    # precision between it and its copy is never above that after both; where it is wrong, nothing
    # is read off there. So this is exact, but for boxes of one image with equal scores.
    hits = np.flatnonzero(pairs.right)
    draws = weights.astype(np.float32)  # sums are exact: whole numbers below 2^24
    drawn = _summed_up_to(hits, pairs.image, draws)
    right = draws.take(pairs.image[hits], axis=1)
    right.cumsum(axis=1, out=right)
    # The last stays 0: the precision at a recall that is never reached.
    precision = np.zeros((len(weights), len(hits) + 1), np.float32)
    np.divide(right, drawn, out=precision[:, :-1], where=drawn > 0)
    best = precision[:, ::-1]
    np.maximum.accumulate(best, axis=1, out=best)
    cells = weights @ pairs.cells
    return np.array(
        [
            row[np.searchsorted(found / number, RECALLS)] if number else np.full(101, np.nan)
            for row, found, number in zip(precision, right, cells, strict=True)
        ],
        np.float64,
    )


def _summed_up_to(ends: Int64, image: Int64, draws: Float32) -> Float32:
    """Return the summed weights of the boxes up to and including each end, shape (R, ends).

    Parameters
    ----------
    ends
        Ascending indices into ``image``.
    image
        Shape (N,): the image of each box.
    draws
        Shape (R, images).
    """
    from scipy.sparse import csr_array  # a tenth of a second to import

    # A row for each end, of the boxes since the end before.
    starts = np.concatenate([[0], ends + 1])
    boxes = np.ones(starts[-1], np.float32), image[: starts[-1]], starts
    between = csr_array(boxes, shape=(len(ends), draws.shape[1]))
    sums = np.ascontiguousarray((between @ draws.T).T)
    return np.asarray(sums.cumsum(axis=1, out=sums))


def _blocks(number: int, at_once: int) -> Iterator[slice]:
    for start in range(0, number, at_once):
        yield slice(start, min(start + at_once, number))
