"""Average precision: COCO's, without its limit of 100 boxes an image, and the thesis' own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from model.judging.pairing import Pairs
from model.judging.resampling import resampled_ap
from model.reports import AveragePrecision

#: COCO's overlaps: 0.50, 0.55 … 0.95.
IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
_AT_50, _AT_75 = IOUS.index(0.5), IOUS.index(0.75)
NO_TRUTH = AveragePrecision(None, None, None)


def average_precision(paired: Sequence[Pairs]) -> AveragePrecision:
    """Return the average precision of boxes, whatever their labels say.

    Parameters
    ----------
    paired
        The boxes with the true ones at each of ``IOUS``.

    Returns
    -------
    AP at IoU 0.5, at 0.75 and over 0.50:0.95; None each where there is no true box.
    """
    if not paired[0].cells.any():
        return NO_TRUTH
    by_iou = np.array([_average_precision(pairs) for pairs in paired])
    return AveragePrecision(float(by_iou[_AT_50]), float(by_iou[_AT_75]), float(by_iou.mean()))


def thesis_precision(pairs: Pairs) -> float | None:
    """Return the thesis' own mAP: scikit-learn's average precision, averaged over the images.

    The boxes of an image are ranked by score, and each is a hit or a miss at IoU 0.5 (Tare 2020).
    Missed cells do not enter, since recall is relative to the hits: one right box among a hundred
    cells has 1.0. An image with cells and no hit has 0; an image without a cell is left out,
    whatever was found there. Only for comparison with the thesis; nothing is decided by it.

    Returns
    -------
    In [0, 1]; None where no image has a cell.
    """
    from sklearn.metrics import average_precision_score  # a second to import

    def of_image(image: int) -> float:
        mine = pairs.image == image
        right = pairs.right[mine]
        return float(average_precision_score(right, pairs.scores[mine])) if right.any() else 0.0

    each = [of_image(int(image)) for image in np.flatnonzero(pairs.cells)]
    return float(np.mean(each)) if each else None


def mean_precision(each: Sequence[AveragePrecision]) -> AveragePrecision:
    """Return the mean over the classes that have true boxes."""

    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    return AveragePrecision(
        mean([p.ap50 for p in each]), mean([p.ap75 for p in each]), mean([p.ap for p in each])
    )


def _average_precision(pairs: Pairs) -> float:
    """Return COCO's average precision at the overlap by which the boxes were paired."""
    # Where each image counts once, all may be taken for one image.
    one = replace(pairs, image=np.zeros_like(pairs.image), cells=pairs.cells.sum(keepdims=True))
    return float(resampled_ap(one, np.ones((1, 1)))[0])
