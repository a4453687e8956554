"""Histogram matching: moves an image's grey levels to give it the template's histogram.

Each image gets one monotone curve, with a grey for each of its levels. For 8 and 16 bits it is a
look-up table; floats are interpolated, and a mere stretch of them is a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocessing.arrays import Float32, Float64, Grey
from preprocessing.blocks import BLOCK, row_blocks
from preprocessing.contrast import ContrastConfig, Rank
from preprocessing.histograms import Histogram
from preprocessing.quantiles import QuantileProfile

#: The grey of a constant image, which has nothing to stretch.
MIDDLE = 0.5


@dataclass(frozen=True, eq=False)
class Template:
    """A histogram to match: a curve from the share of the pixels to their grey.

    Parameters
    ----------
    shares
        Shape (P,), rising, in [0, 1].
    greys
        Shape (P,), never falling, in [0, 1]; linear between two shares.
    """

    shares: Float64
    greys: Float64

    @classmethod
    def even(cls, greys: Float64) -> Template:
        """Return a template from greys at evenly spaced shares, both ends included."""
        return cls(np.linspace(0, 1, len(greys)), greys)

    @classmethod
    def of(cls, histogram: Histogram, rank: Rank = "upper") -> Template:
        """Return an image's own histogram as a template, with its range stretched to [0, 1]."""
        return cls(histogram.shares(rank), stretched_greys(histogram))


def match(
    pixels: Grey,
    histogram: Histogram,
    template: Template,
    config: ContrastConfig = ContrastConfig(),  # noqa: B008 (frozen)
) -> Float32:
    """Return the image with the histogram of a template.

    A level becomes the grey at which the template has the same share of pixels at or below it, as
    in ``skimage.exposure.match_histograms``. A constant image becomes the template's middle grey;
    scikit-image would make it white. ``config`` may limit this (``strength``, where 0 equals
    :func:`stretch`, and ``gain_limit``) or choose the middle of a level's ranks.

    Parameters
    ----------
    pixels
        Shape (H, W).
    histogram
        The histogram of ``pixels``.

    Returns
    -------
    Shape (H, W), in [0, 1].
    """
    return _apply(pixels, histogram, matched_greys(histogram, template, config))


def stretch(pixels: Grey, histogram: Histogram) -> Float32:
    """Return the image with its range (0.1 % to 99.9 %) stretched to [0, 1], the rest clipped.

    A constant image becomes grey 0.5.

    Parameters
    ----------
    pixels
        Shape (H, W).
    histogram
        The histogram of ``pixels``.

    Returns
    -------
    Shape (H, W), in [0, 1].
    """
    if pixels.dtype.kind != "f":
        return _apply(pixels, histogram, stretched_greys(histogram))
    result = np.empty(pixels.shape, np.float32)
    for rows in row_blocks(pixels.shape):
        result[rows] = _stretched(pixels[rows], histogram)
    return result


def matched_greys(histogram: Histogram, template: Template, config: ContrastConfig) -> Float64:
    """Return the matched grey of each level of a histogram, shape (V,), in [0, 1]."""
    shares = histogram.shares(config.rank)
    greys = np.asarray(np.interp(shares, template.shares, template.greys))
    if config.gain_limit is not None and not histogram.is_constant:
        greys = _limited(greys, histogram, config.gain_limit)
    if config.strength < 1:
        greys = (1 - config.strength) * stretched_greys(histogram) + config.strength * greys
    return greys


def stretched_greys(histogram: Histogram) -> Float64:
    """Return the stretched grey of each level of a histogram, shape (V,), in [0, 1]."""
    return _stretched(histogram.levels, histogram)


def _stretched(levels: NDArray[Any], histogram: Histogram) -> Float64:
    if histogram.is_constant:
        return np.full(levels.shape, MIDDLE)
    low, high = QuantileProfile.of(histogram).range
    # In float64: the range of a float image may be too large or too small for float32.
    return np.asarray(np.clip((levels - np.float64(low)) / (high - low), 0, 1))


def _limited(greys: Float64, histogram: Histogram, gain_limit: float) -> Float64:
    """Limit each step to a multiple of the stretch's slope; the median level stays."""
    low, high = QuantileProfile.of(histogram).range
    steepest = gain_limit * np.diff(histogram.levels) / (high - low)
    steps = np.minimum(np.diff(greys), steepest)
    height = np.concatenate([[0.0], np.cumsum(steps)])
    median = int(np.searchsorted(histogram.shares("upper"), 0.5))
    return np.asarray(np.clip(height - height[median] + greys[median], 0, 1))


def _apply(pixels: Grey, histogram: Histogram, greys: Float64) -> Float32:
    source: NDArray[Any] = pixels.reshape(-1)
    result = np.empty(source.size, np.float32)
    if pixels.dtype.kind == "f":
        for start in range(0, source.size, BLOCK):
            block = source[start : start + BLOCK]
            result[start : start + BLOCK] = np.interp(block, histogram.levels, greys)
        return result.reshape(pixels.shape)
    every_level = np.arange(1 << 8 * pixels.itemsize)
    table = np.interp(every_level, histogram.levels, greys).astype(np.float32)
    if pixels.itemsize == 1:
        even = source.size // 2 * 2
        _look_up(source[:even].view("<u2"), _table_of_pairs(table), result[:even].view(np.uint64))
        result[even:] = table[source[even:]]
    else:
        _look_up(source, table, result)
    return result.reshape(pixels.shape)


def _table_of_pairs(table: Float32) -> NDArray[np.uint64]:
    """Return the two greys of each pair of bytes: half the look-ups, a third less time."""
    pairs = np.empty((256, 256, 2), np.float32)
    pairs[..., 0], pairs[..., 1] = table[None, :], table[:, None]
    return pairs.reshape(-1).view(np.uint64)


def _look_up(levels: NDArray[Any], table: NDArray[Any], result: NDArray[Any]) -> None:
    for start in range(0, levels.size, BLOCK):
        block = slice(start, start + BLOCK)
        # Every level is in the table; "clip" only spares numpy a second copy.
        np.take(table, levels[block], out=result[block], mode="clip")
