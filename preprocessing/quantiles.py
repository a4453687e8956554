"""The quantile profile of an image: its histogram as levels at even probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.arrays import Float64, Grey
from preprocessing.histograms import Histogram, histogram_of

#: Number of quantiles; the k-th is at probability k / (QUANTILES - 1), both ends included.
QUANTILES = 1001
#: The least share of an image's own levels: what fills more than the rest may be background.
LEAST_OWN = 0.9
#: The most quantiles between an image's own levels and the burnt-in level: smooth edges.
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
        """The image's darkest and brightest level, leaving out 0.1 % of the pixels at either end.

        If these are the same level, it is the minimum and maximum: in a black field the few pixels
        that are not black matter. What was burnt in, such as a scale bar, is left out: its one
        level could dwarf all others.
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

        Shape (QUANTILES,), in [-1, 1]; zeros for a constant image. The file's depth, gain and
        offset do not change it, so a 12-bit image in a 16-bit file and its 8-bit copy have the same
        shape.
        """
        if self.is_constant:
            return np.zeros_like(self.levels)
        low, high = self.range
        stretched = np.clip((self.levels - low) / (high - low), 0, 1)
        centred: Float64 = stretched - stretched[QUANTILES // 2]
        return centred

    @property
    def contrast(self) -> float:
        """The distance of the pixels from the median, in units of the image's own range.

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
    """Return rising quantiles without those burnt in at the highest level.

    What was burnt in has one level. It is farther from the image's other levels than these are
    wide, and few quantiles lie between, such as those of letters with smooth edges.
    """
    own = levels[levels < levels[-1]][:-SMOOTH_EDGES]
    is_one_level = levels[-2] == levels[-1]
    if not is_one_level or len(own) < LEAST_OWN * len(levels):
        return levels
    width = own[-1] - own[1]
    return own if levels[-1] - own[-1] > width > 0 else levels
