"""Whether an image has more noise than a detector has learned to see through."""

from __future__ import annotations

import numpy as np

from preprocessing.noise import noise_of
from preprocessing.prepare import Prepared

#: Flag of an image with more noise than the version has learned from.
NOISY = "noisy"
#: Side, in pixels, of the part in an image's middle whose noise is measured.
MEASURED_PX = 1024


def is_noisy(image: Prepared, learned: float) -> bool:
    """Say whether an image has more noise than was learned from.

    Parameters
    ----------
    image
        At the scale at which it is seen: noise that vanishes in shrinking does no harm.
    learned
        Standard deviation of the noise learned from, as a part of the grey range
        (``TrainConfig.noise``).
    """
    middle = image.pixels[tuple(_middle(side) for side in image.pixels.shape)]
    return min(middle.shape) > 1 and noise_of(middle.astype(np.float64)) > learned


def _middle(side: int) -> slice:
    start = max(side - MEASURED_PX, 0) // 2
    return slice(start, start + MEASURED_PX)
