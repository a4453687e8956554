"""How far counts of other images may be off: what the counts of images that judged say of them.

Both ranges hold whatever the detector is, where the images that judged and those that are counted
come of one kind, by chance. An image's is split conformal prediction (Lei et al. 2018,
"Distribution-free predictive inference for regression"); that of a sum the difference estimator of
survey sampling (Cochran 1977, "Sampling techniques", ch. 7), which as prediction-powered inference
(Angelopoulos et al. 2023) is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.reports import Counts
from preprocessing.arrays import Float64

#: In so many of a hundred images the true count is in the range of the predicted one.
IMAGE_LEVEL = 0.9
#: So often the true sum is in its range.
SUM_LEVEL = 0.95
#: Of fewer images than these not even the one that is farthest off says where nine of ten are.
FEWEST = 9
_ROUNDING = 1e-9


@dataclass(frozen=True)
class CountRange:
    """The fewest and the most cells that there may be."""

    low: int
    high: int


def range_of(count: int, judged: Counts) -> CountRange | None:
    """Return the range of an image's true count, by ``IMAGE_LEVEL``; None of too few that judged.

    Counts are as far off as the root of what is counted grows.

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
    # The next image is as likely to be at any place among these.
    farthest = off[int(np.ceil((len(off) + 1) * IMAGE_LEVEL)) - 1]
    margin = float(farthest * _scale(np.array(count))) + _ROUNDING
    return CountRange(max(0, int(np.ceil(count - margin))), int(np.floor(count + margin)))


def range_of_sum(counts: Sequence[int], judged: Counts) -> CountRange | None:
    """Return the range of what images hold together, by ``SUM_LEVEL``; None of too few that judged.

    What was found may lie outside, where the version finds too few or too many.

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
    # Some images may be of a kind that hardly one of those that judged was of, and as far off as
    # the farthest of these: as if one more were, on either side (Agresti and Coull 1998 so mend
    # intervals of shares).
    farthest = np.abs(off).max()
    deviation = np.append(off, (farthest, -farthest)).std(ddof=1)
    # Unknown are how far predictions are off in the mean, and these images from that.
    spread = deviation * np.sqrt(images * (images / known + 1))
    margin = float(stdtrit(known - 1, (1 + SUM_LEVEL) / 2) * spread)
    low, high = int(np.floor(middle - margin)), int(np.ceil(middle + margin))
    return CountRange(max(0, low), max(0, high))


def _scale(counts: Float64) -> Float64:
    scale: Float64 = np.sqrt(counts + 1)
    return scale
