"""Histogram matching: the image's grey levels moved so that its histogram becomes the template's.

One monotone curve an image: a table for 8 and 16 bits, interpolation for floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocessing.decoding import Grey
from preprocessing.quantiles import BLOCK, QUANTILES, Levels, QuantileProfile

Float32 = NDArray[np.float32]
Curve = Callable[[NDArray[Any]], NDArray[Any]]

#: What a constant image becomes: there is nothing to stretch.
MIDDLE = 0.5


def match(pixels: Grey, profile: QuantileProfile, template: Levels) -> Float32:
    """Return the image with the histogram of a template.

    A level goes to where the template has the same share of pixels below it, a level that many
    pixels share to the middle of their ranks, as in ``skimage.exposure.match_histograms`` but for
    that middle (scikit-image takes the upper end, which would send a constant image to white).

    Parameters
    ----------
    pixels
        Shape (H, W).
    profile
        The profile of ``pixels``.
    template
        Shape (QUANTILES,), never falling, in [0, 1].

    Returns
    -------
    Shape (H, W), in [0, 1].
    """
    levels, first, held = np.unique(profile.levels, return_index=True, return_counts=True)
    rank = first + (held - 1) / 2
    matched = np.interp(rank, np.arange(QUANTILES), template)
    return _apply(pixels, lambda level: np.interp(level, levels, matched))


def stretch(pixels: Grey, profile: QuantileProfile) -> Float32:
    """Return the image with its range (0.1 % to 99.9 %) stretched to [0, 1], the rest clipped.

    A constant image becomes grey 0.5.

    Parameters
    ----------
    pixels
        Shape (H, W).
    profile
        The profile of ``pixels``.

    Returns
    -------
    Shape (H, W), in [0, 1].
    """
    if profile.is_constant:
        return np.full(pixels.shape, MIDDLE, np.float32)
    low, high = profile.range
    return _apply(pixels, lambda level: np.clip((level - low) / (high - low), 0, 1))


def _apply(pixels: Grey, curve: Curve) -> Float32:
    source: NDArray[Any] = pixels.reshape(-1)
    result = np.empty(source.size, np.float32)
    if pixels.dtype.kind != "f":
        table = curve(np.arange(1 << 8 * pixels.itemsize)).astype(np.float32)
    for start in range(0, source.size, BLOCK):
        block = source[start : start + BLOCK]
        result[start : start + BLOCK] = curve(block) if block.dtype.kind == "f" else table[block]
    return result.reshape(pixels.shape)
