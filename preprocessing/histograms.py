"""The histogram of an image: its grey levels, and the number of pixels at or below each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.arrays import Float64, Grey, Int64
from preprocessing.blocks import BLOCK
from preprocessing.contrast import Rank

#: Pixels, at even ranks, that stand for all of a float image: as many as 16 bits have levels.
MOST_LEVELS = 2**16
#: Grey levels that an image has at the least as a camera takes it. Fewer are left by a threshold or
#: a palette, and hide cells: of four levels one in eight (benchmarks.disturbed).
LEAST_LEVELS = 8


@dataclass(frozen=True, eq=False)
class Histogram:
    """The cumulative histogram of an image.

    Parameters
    ----------
    levels
        Shape (V,), rising: the grey levels that occur. Exact for 8 and 16 bits. Of a float image
        only up to 65,536 pixels, at even ranks, are counted.
    below_or_at
        Shape (V,): the number of counted pixels at or below each level.
    """

    levels: Float64
    below_or_at: Int64

    @property
    def pixels(self) -> int:
        """The number of counted pixels."""
        return int(self.below_or_at[-1])

    @property
    def is_constant(self) -> bool:
        return len(self.levels) == 1

    @property
    def is_coarse(self) -> bool:
        """Whether it has fewer grey levels than a camera gives, though several."""
        return 1 < len(self.levels) < LEAST_LEVELS

    def shares(self, rank: Rank) -> Float64:
        """Return the share of the pixels below each level, shape (V,), in [0, 1].

        Rank ``upper`` also counts all pixels at the level itself, ``middle`` half of them. For a
        constant image it is always half.
        """
        upper = self.below_or_at / self.pixels
        if rank == "upper" and not self.is_constant:
            return np.asarray(upper)
        return np.asarray((upper + np.concatenate([[0.0], upper[:-1]])) / 2)

    def quantiles(self, count: int) -> Float64:
        """Return the levels at ``count`` evenly spaced shares, both ends included."""
        at = np.linspace(0, 1, count) * (self.pixels - 1)
        return self.levels[np.searchsorted(self.below_or_at, at, side="right")]


def histogram_of(pixels: Grey) -> Histogram:
    """Return the histogram of an image, shape (H, W)."""
    if pixels.dtype.kind == "f":
        ordered = np.sort(pixels, axis=None)
        at = np.linspace(0, ordered.size - 1, min(ordered.size, MOST_LEVELS)).astype(np.int64)
        levels, counts = np.unique(ordered[at], return_counts=True)
    else:
        all_counts = _count_bytes(pixels) if pixels.itemsize == 1 else _count_levels(pixels)
        levels = np.flatnonzero(all_counts)
        counts = all_counts[levels]
    return Histogram(levels.astype(np.float64), np.cumsum(counts))


def _count_bytes(pixels: Grey) -> Int64:
    # This takes a quarter of the time of numpy's bincount, which first makes 8 bytes of each pixel.
    from PIL import Image

    flat = np.ascontiguousarray(pixels).reshape(-1)
    counts = np.zeros(256, np.int64)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        image = Image.frombuffer("L", (block.size, 1), block, "raw", "L", 0, 1)
        counts += image.histogram()
    return counts


def _count_levels(pixels: Grey) -> Int64:
    flat = pixels.reshape(-1)
    counts = np.zeros(1 << 8 * pixels.itemsize, np.int64)
    for start in range(0, flat.size, BLOCK):
        counts += np.bincount(flat[start : start + BLOCK], minlength=counts.size)
    return counts
