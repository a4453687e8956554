"""The quantile profile of an image: its histogram as levels at even probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.arrays import Float64, Grey
from preprocessing.histograms import Histogram, histogram_of

#: Quantiles of a profile; the k-th is at probability k / (QUANTILES - 1), the ends included.
QUANTILES = 1001
#: More of an image than the rest of this share is not burnt in: it may be its background.
LEAST_OWN = 0.9
#: Quantiles between an image's own levels and that of what was burnt in: of its smooth edges.
SMOOTH_EDGES = 3


@dataclass(frozen=True, eq=False)
class QuantileProfile:
    """The quantile function of an image's grey levels.

    Parameters
    ----------
    levels
        Shape (QUANTILES,), never falling, in the image's own grey levels; the first is its
        minimum, the last its maximum.
    """

    levels: Float64

    @classmethod
    def of(cls, histogram: Histogram) -> QuantileProfile:
        return cls(histogram.quantiles(QUANTILES))

    @property
    def range(self) -> tuple[float, float]:
        """The image's darkest and brightest level but for 0.1 % of the pixels at either end.

        Where these are one level, its minimum and maximum: in a black field the few pixels that
        are not black are what matters. What was burnt in, such as a scale bar, is left out: beside
        its one level all others may be next to nothing.
        """
        levels = _without_burnt_in(self.levels)
        levels = -_without_burnt_in(-levels[::-1])[::-1]
        low, high = levels[1], levels[-2]
        if low == high:
            low, high = levels[0], levels[-1]
        return float(low), float(high)

    @property
    def is_constant(self) -> bool:
        low, high = self.range
        return low == high

    @property
    def shape(self) -> Float64:
        """The profile with its range stretched to one and its median moved to zero.

        Shape (QUANTILES,), in [-1, 1]; zeros for a constant image. Neither the depth of the file
        nor gain nor offset changes it, so a 12-bit image in a 16-bit file and its 8-bit copy have
        the same shape.
        """
        if self.is_constant:
            return np.zeros_like(self.levels)
        low, high = self.range
        stretched = np.clip((self.levels - low) / (high - low), 0, 1)
        centred: Float64 = stretched - stretched[QUANTILES // 2]
        return centred

    @property
    def contrast(self) -> float:
        """How far the pixels lie from the median, in units of the image's own range.

        Root mean square, in [0, 1].
        """
        return float(distance(self.shape, 0.0))


def profile_of(pixels: Grey) -> QuantileProfile:
    """Return the quantile profile of an image, shape (H, W)."""
    return QuantileProfile.of(histogram_of(pixels))


def distance(first: Float64, second: Float64 | float) -> Float64:
    """Return the 1-D Wasserstein-2 distance between the shapes of profiles, in [0, 2].

    Parameters
    ----------
    first, second
        Shapes (..., QUANTILES), broadcast against each other; 0 is the shape without contrast.

    Returns
    -------
    Shape (...,).
    """
    return np.asarray(np.sqrt(np.mean((first - second) ** 2, axis=-1)))


def _without_burnt_in(levels: Float64) -> Float64:
    """Return rising quantiles without those of what was burnt in at the highest level.

    That has one level, which is farther from what the image shows than this is wide. Of quantiles
    between the two, such as of letters with smooth edges, there are few.
    """
    own = levels[levels < levels[-1]][:-SMOOTH_EDGES]
    is_one_level = levels[-2] == levels[-1]
    if not is_one_level or len(own) < LEAST_OWN * len(levels):
        return levels
    width = own[-1] - own[1]
    return own if levels[-1] - own[-1] > width > 0 else levels
