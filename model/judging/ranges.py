"""How far counts of other images may be off, by the counts of images that judged.

Both ranges hold for any detector, as long as the images that judged and those that are counted are
drawn at random from one kind. That of an image is split conformal prediction (Lei et al. 2018,
"Distribution-free predictive inference for regression"), that of a sum the difference estimator of
survey sampling (Cochran 1977, "Sampling techniques", ch. 7), which is the same as
prediction-powered inference (Angelopoulos et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.reports import Counts
from preprocessing.arrays import Float64

#: Share of the images whose true count is in its range.
IMAGE_LEVEL = 0.9
#: Probability that a true sum is in its range.
SUM_LEVEL = 0.95
#: Fewest images that judged: of fewer not even the one farthest off bounds nine of ten.
FEWEST = 9
_ROUNDING = 1e-9


@dataclass(frozen=True)
class CountRange:
    """The fewest and the most cells that there may be."""

    low: int
    high: int


def range_of(count: int, judged: Counts) -> CountRange | None:
    """Return the range of an image's true count at ``IMAGE_LEVEL``; None where too few judged.

    The error of a count is taken to grow with its square root.

    Parameters
    ----------
    count
        As predicted.
    judged
        Predicted and true counts, by the same version, of images that it has not learned from.
    """
    if len(judged) < FEWEST:
        return None
    predicted, true = np.array(judged, np.float64).T
    off = np.sort(np.abs(true - predicted) / _scale(predicted))
    # The next image is equally likely to have any rank among these.
    farthest = off[int(np.ceil((len(off) + 1) * IMAGE_LEVEL)) - 1]
    margin = float(farthest * _scale(np.array(count))) + _ROUNDING
    return CountRange(max(0, int(np.ceil(count - margin))), int(np.floor(count + margin)))


def range_of_sum(counts: Sequence[int], judged: Counts) -> CountRange | None:
    """Return the range of the cells of images together at ``SUM_LEVEL``; None where too few judged.

    The predicted sum may lie outside, where the version finds too few or too many.

    Parameters
    ----------
    counts
        As predicted, of each image.
    judged
        As :func:`range_of` takes them.
    """
    from scipy.special import stdtrit

    if len(judged) < FEWEST:
        return None
    images, known = len(counts), len(judged)
    predicted, true = np.array(judged, np.float64).T
    off = true - predicted
    middle = sum(counts) + images * off.mean()
    # Some images may be of a kind that is rare among those that judged, and as far off as the
    # farthest of these: as if one more were, on either side (Agresti and Coull 1998 mend intervals
    # of shares in this way).
    farthest = np.abs(off).max()
    deviation = np.append(off, (farthest, -farthest)).std(ddof=1)
    # Unknown are the mean error of all predictions, and how far these images are from it.
    spread = deviation * np.sqrt(images * (images / known + 1))
    margin = float(stdtrit(known - 1, (1 + SUM_LEVEL) / 2) * spread)
    low, high = int(np.floor(middle - margin)), int(np.ceil(middle + margin))
    return CountRange(max(0, low), max(0, high))


def _scale(counts: Float64) -> Float64:
    scale: Float64 = np.sqrt(counts + 1)
    return scale
