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

#: The threshold where no box of the examples is right.
DEFAULT_THRESHOLD = 0.5
#: F1 that a threshold may lack so that the count is right.
AS_GOOD = 0.01
#: How near to 0 and 1 thresholds may come before their odds are taken.
_SUREST = 1e-4


def count_report(predicted: Sequence[int], true: Sequence[int]) -> CountReport:
    """Compare counts, one of each for an image.

    Where no image has a cell, errors are relative to one cell: each false box adds 1.
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
    """Return the score from which boxes of any class count.

    Of the scores whose F1 is about the best, the one at which the count is right: F1 is flat about
    its maximum, which lies above the true count in one set and below it in another. The threshold
    is half way to the next score below, so that a box a little less sure in another image counts
    too; it is 0.5 where no box is right.

    Parameters
    ----------
    as_good
        How much F1 may be below the best; 0: F1 alone decides.
    """
    pairs = pairs_of(found, truth)
    return threshold_of(pairs, as_good) if pairs.right.any() else DEFAULT_THRESHOLD


def threshold_of(pairs: Pairs, as_good: float = AS_GOOD) -> float:
    """Return the same for boxes that are paired, of which at least one is right."""
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
    """Return the distinct scores, descending, and number and F1 of the boxes from each on up."""
    scores, hits = pairs.scores, np.cumsum(pairs.right)
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    f1 = 2 * hits[last] / (last + 1 + pairs.cells.sum())
    return scores[last], last + 1, f1.astype(np.float32)
