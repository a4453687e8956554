"""How much noise an image has, whatever else it shows."""

from __future__ import annotations

import numpy as np

from preprocessing.arrays import Float64

#: Median of the magnitude of a normal variable of standard deviation 1.
_MEDIAN_MAGNITUDE = 0.6745


def noise_of(pixels: Float64) -> float:
    """Return the standard deviation of white noise, from the diagonal differences of 2×2 pixels.

    Cells hardly show in these finest details, and their edges, being few, do not move the median
    (Donoho and Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage").

    Parameters
    ----------
    pixels
        Shape (H, W), both at least 2.
    """
    diagonal = pixels[1:, 1:] - pixels[1:, :-1] - pixels[:-1, 1:] + pixels[:-1, :-1]
    # Sums of four pixels: twice the deviation of one.
    return float(np.median(np.abs(diagonal)) / 2 / _MEDIAN_MAGNITUDE)
