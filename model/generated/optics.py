"""How a microscope shows a field of cells: what is thick is not only brighter or darker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from preprocessing.arrays import Float64


def haloed(levels: Float64, strength: float, width_px: float) -> Float64:
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


def in_relief(levels: Float64, strength: float, angle: float) -> Float64:
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


def in_rims(levels: Float64, width_px: float) -> Float64:
    """Return a field by its slopes, whichever way they go: cells are little more than a rim.

    Parameters
    ----------
    levels
        Shape (H, W).
    width_px
        Standard deviation of how wide a rim is.
    """
    return np.asarray(ndimage.gaussian_gradient_magnitude(levels, width_px))


def filtered(levels: Float64, side: int, rng: np.random.Generator) -> Float64:
    """Return a field through a small filter drawn at random (Xu et al. 2021, RandConv).

    What is left is where things are and how large; their texture and contrast are others.

    Parameters
    ----------
    levels
        Shape (H, W).
    side
        Of the filter, in pixels.
    """
    drawn = rng.normal(0, 1 / side, (side, side))
    return np.asarray(ndimage.convolve(levels, drawn, mode="nearest"))


def of_another_microscope(levels: Float64, rng: np.random.Generator) -> Float64:
    """Return a field, such as a real image, as another microscope might show it.

    Parameters
    ----------
    levels
        Shape (H, W), cells of 14 to 110 pixels.

    Returns
    -------
    Levels of any range, cells where they were.
    """
    return _MICROSCOPES[rng.integers(len(_MICROSCOPES))](levels, rng)


def _phase(levels: Float64, rng: np.random.Generator) -> Float64:
    width_px = float(np.exp(rng.uniform(np.log(2), np.log(30))))
    return haloed(levels, rng.uniform(0.5, 1.1), width_px)


def _relief(levels: Float64, rng: np.random.Generator) -> Float64:
    return in_relief(levels, rng.uniform(0.6, 1), rng.uniform(0, 2 * np.pi))


def _rims(levels: Float64, rng: np.random.Generator) -> Float64:
    rims = in_rims(levels, rng.uniform(1, 2.5))
    return np.asarray(rims * rng.choice([-1, 1]) + rng.uniform(0, 0.3) * levels)


def _any(levels: Float64, rng: np.random.Generator) -> Float64:
    side = int(rng.choice([3, 5, 7]))
    through = filtered(levels, side, rng)
    share = rng.uniform(0, 0.5)
    return share * levels + (1 - share) * through


_MICROSCOPES: tuple[Callable[[Float64, np.random.Generator], Float64], ...] = (
    _phase,
    _relief,
    _rims,
    _any,
)
