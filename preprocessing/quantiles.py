"""The quantile profile of an image: its histogram as levels at even probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.decoding import Grey

Levels = NDArray[np.float64]

#: Quantiles of a profile; the k-th is at probability k / (QUANTILES - 1), the ends included.
QUANTILES = 1001

#: Pixels counted or looked up at once: numpy makes 8 bytes of each on the way.
BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class QuantileProfile:
    """The quantile function of an image's grey levels.

    Parameters
    ----------
    levels
        Shape (QUANTILES,), never falling, in the image's own grey levels; the first is its
        minimum, the last its maximum.
    """

    levels: Levels

    @property
    def range(self) -> tuple[float, float]:
        """The image's darkest and brightest level but for 0.1 % of the pixels at either end.

        Where these are one level, its minimum and maximum: in a black field the few pixels that
        are not black are what matters.
        """
        low, high = self.levels[1], self.levels[-2]
        if low == high:
            low, high = self.levels[0], self.levels[-1]
        return float(low), float(high)

    @property
    def is_constant(self) -> bool:
        low, high = self.range
        return low == high

    @property
    def shape(self) -> Levels:
        """The profile with its range stretched to one and its median moved to zero.

        Shape (QUANTILES,), in [-1, 1]; zeros for a constant image. Neither the depth of the file
        nor gain nor offset changes it, so a 12-bit image in a 16-bit file and its 8-bit copy have
        the same shape.
        """
        if self.is_constant:
            return np.zeros_like(self.levels)
        low, high = self.range
        stretched = np.clip((self.levels - low) / (high - low), 0, 1)
        centred: Levels = stretched - stretched[QUANTILES // 2]
        return centred

    @property
    def contrast(self) -> float:
        """How far the pixels lie from the median, in units of the image's own range.

        Root mean square, in [0, 1].
        """
        return float(np.sqrt(np.mean(self.shape**2)))


def profile_of(pixels: Grey) -> QuantileProfile:
    """Return the quantile profile of an image, shape (H, W)."""
    at = np.linspace(0, 1, QUANTILES) * (pixels.size - 1)
    if pixels.dtype.kind == "f":
        ordered = np.sort(pixels, axis=None)
        return QuantileProfile(ordered[np.rint(at).astype(np.int64)].astype(np.float64))
    below_or_at = np.cumsum(_count_levels(pixels))
    return QuantileProfile(np.searchsorted(below_or_at, at, side="right").astype(np.float64))


def distance(first: QuantileProfile, second: QuantileProfile) -> float:
    """Return the 1-D Wasserstein-2 distance between the shapes of two profiles, in [0, 2]."""
    return float(np.sqrt(np.mean((first.shape - second.shape) ** 2)))


def _count_levels(pixels: Grey) -> NDArray[np.int64]:
    flat = pixels.reshape(-1)
    levels = 1 << 8 * pixels.itemsize
    counts = np.zeros(levels, np.int64)
    for start in range(0, flat.size, BLOCK):
        counts += np.bincount(flat[start : start + BLOCK], minlength=levels)
    return counts
