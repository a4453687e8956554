"""Resizing images as scikit-image does, in a quarter of the time or less."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from preprocessing.arrays import Float32, Float64, Int64

#: The reach of scipy's Gaussian, in standard deviations.
_REACH = 4.0


def resized(pixels: Float32, shape: tuple[int, int]) -> Float32:
    """Return the image at this shape, linear between pixels and mirrored at its edges.

    A side that shrinks by a factor f is first smoothed by a Gaussian of (f - 1) / 2. One sparse
    matrix maps the rows, another the columns.

    Parameters
    ----------
    pixels
        Shape (H, W), of any range; the range is kept.
    shape
        Rows and columns of the result.
    """
    down, across = (_weights(*sides) for sides in zip(pixels.shape, shape, strict=True))
    return np.ascontiguousarray((across @ (down @ pixels).T).T)


def resized_part(pixels: Float32, shape: tuple[int, int], rows: slice, columns: slice) -> Float32:
    """Return these rows and columns of the result of :func:`resized`, without making the rest."""
    sides = zip(pixels.shape, shape, (rows, columns), strict=True)
    down, across = (_weights(old, new)[part] for old, new, part in sides)
    top, left = (slice(w.indices.min(), w.indices.max() + 1) for w in (down, across))
    return np.ascontiguousarray((across[:, left] @ (down[:, top] @ pixels[top, left]).T).T)


@lru_cache(maxsize=32)
def _weights(old: int, new: int) -> Any:
    """Return the weight of each old pixel in each new one, shape (new, old), sparse."""
    from scipy.sparse import csr_array

    factor = old / new
    at = (np.arange(new) + 0.5) * factor - 0.5
    before = np.floor(at).astype(np.int64)
    kernel = _gaussian(max(0.0, (factor - 1) / 2))
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    beside = [(before, 1 - (at - before)), (before + 1, at - before)]
    columns = np.concatenate([pixel[:, None] + offsets for pixel, _ in beside], axis=1)
    weights = np.concatenate([share[:, None] * kernel for _, share in beside], axis=1)
    rows = np.repeat(np.arange(new), columns.shape[1])
    entries = (weights.ravel().astype(np.float32), (rows, _mirrored(columns.ravel(), old)))
    return csr_array(entries, shape=(new, old))


def _gaussian(deviation: float) -> Float64:
    reach = int(_REACH * deviation + 0.5)
    if not reach:
        return np.ones(1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    return np.asarray(kernel / kernel.sum())


def _mirrored(at: Int64, size: int) -> Int64:
    """Return places with those beyond the first and last pixel mirrored into the image."""
    if size == 1:
        return np.zeros_like(at)
    there_and_back = 2 * (size - 1)
    folded = at % there_and_back
    return np.asarray(np.minimum(folded, there_and_back - folded))
