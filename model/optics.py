"""How a microscope shows a field of cells: what is thick is not only brighter or darker."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float64]


def haloed(levels: Float, strength: float, width_px: float) -> Float:
    """Return a field as phase contrast shows it: each level against those about it.

    Cells get a halo of the opposite sign, and the inside of a large one returns to the background
    (shade-off). Narrow and strong, it is the rim that refraction makes in bright field.

    Parameters
    ----------
    levels
        Shape (H, W), 0 where there is no cell.
    strength
        0: as it is; 1: nothing is left of a level that does not change.
    width_px
        Standard deviation of what counts as about it.
    """
    return np.asarray(levels - strength * ndimage.gaussian_filter(levels, width_px))


def in_relief(levels: Float, strength: float, angle: float) -> Float:
    """Return a field as if lit from one side, as differential interference contrast shows it.

    Parameters
    ----------
    levels
        Shape (H, W), 0 where there is no cell.
    strength
        0: as it is; 1: slopes alone are seen.
    angle
        Where the light comes from, in radians.
    """
    down, across = (ndimage.gaussian_filter(levels, 1.5, order=o) for o in ((1, 0), (0, 1)))
    slope = 4 * (np.sin(angle) * down + np.cos(angle) * across)
    return np.asarray((1 - strength) * levels + strength * slope)
