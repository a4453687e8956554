"""How well boxes count cells, and from which score on they do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.boxes import Detections
from model.judging.pairing import Pairs, any_class
from model.judging.resampling import count_error
from model.labels.examples import LabelledImage
from model.reports import CountReport, EvaluationReport
from preprocessing.arrays import Float32, Int64

#: Where nothing can be learned from the examples: the middle of the scale.
DEFAULT_THRESHOLD = 0.5
#: F1 that a threshold may lack for the count to be right.
AS_GOOD = 0.01
_SUREST = 1e-4


def count_report(predicted: Sequence[int], true: Sequence[int]) -> CountReport:
    """Compare counts, one of each for an image.

    Where no image has a cell, the errors are relative to one cell: a false box then counts as 1.
    """
    cells = np.asarray(true)
    off = np.asarray(predicted) - cells
    relative = np.abs(off[cells > 0]) / cells[cells > 0]
    return CountReport(
        true=int(cells.sum()),
        predicted=int(np.sum(predicted)),
        error=float(count_error(np.asarray(predicted), cells, np.ones((1, len(cells))))[0]),
        bias=float(off.sum() / max(int(cells.sum()), 1)),
        median_error=float(np.median(relative)) if len(relative) else 0.0,
    )


def counts_of_classes(report: EvaluationReport) -> dict[str, CountReport]:
    """Return how well each class was counted, by its name.

    Of boxes of several classes on one cell the best counts, as in exports.
    """
    return {
        name: count_report(*zip(*counts, strict=True))
        for name, counts in report.counts_by_class.items()
    }


def pairs_of(found: Sequence[Detections], truth: Sequence[LabelledImage]) -> Pairs:
    """Pair boxes of any class with the true cells of each image, at IoU 0.5."""
    return Pairs.of([any_class(each) for each in found], [image.xyxy_px for image in truth])


def counting_threshold(
    found: Sequence[Detections], truth: Sequence[LabelledImage], as_good: float = AS_GOOD
) -> float:
    """Return the score from which boxes count: of those with the best F1, where the count is right.

    The best F1 alone is flat about its best and falls now on this side of the true count, now on
    that. Of any class; half way to the next box below, so that a box a little less sure in another
    image still shows; 0.5 where no box is right.

    Parameters
    ----------
    as_good
        F1 that it may lack; 0: the best F1 alone chooses.
    """
    pairs = pairs_of(found, truth)
    return threshold_of(pairs, as_good) if pairs.right.any() else DEFAULT_THRESHOLD


def threshold_of(pairs: Pairs, as_good: float = AS_GOOD) -> float:
    """Return the same of boxes that are paired, one of which is right at the least."""
    levels, counts, f1 = _by_score(pairs)
    off = np.abs(counts - pairs.cells.sum())
    best = int(np.where(f1 >= f1.max() - as_good, off, np.inf).argmin())
    below = levels[best + 1] if best + 1 < len(levels) else 0.0
    return float(levels[best] + below) / 2


def between(threshold: float, weight: float, other: float, other_weight: float) -> float:
    """Return the weighted mean of two thresholds, in logarithms of the odds."""
    both = np.clip([threshold, other], _SUREST, 1 - _SUREST)
    odds = np.average(np.log(both / (1 - both)), weights=[weight, other_weight])
    return float(1 / (1 + np.exp(-odds)))


def _by_score(pairs: Pairs) -> tuple[Float32, Int64, Float32]:
    """Return the distinct scores, descending, and number and F1 of the boxes from each up."""
    scores, hits = pairs.scores, np.cumsum(pairs.right)
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    f1 = 2 * hits[last] / (last + 1 + pairs.cells.sum())
    return scores[last], last + 1, f1.astype(np.float32)
