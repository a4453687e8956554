"""Single odd pixels, such as a camera's hot and dead ones: no lens shows anything so small."""

from __future__ import annotations

import numpy as np

from preprocessing.arrays import Boolean, Grey, Int64, Pixels
from preprocessing.blocks import row_blocks
from preprocessing.quantiles import profile_of

#: A speck is brighter, or darker, than all pixels that touch it by this share of the range.
APART = 0.3
#: Specks may widen the range: once the worst are gone it is narrower, and shows others.
PASSES = 3
_AROUND = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if down or across]


def without_specks(pixels: Grey) -> Grey:
    """Return the image with each speck at the median level of the pixels that touch it.

    An image without specks is returned as the same object, not a copy.

    Parameters
    ----------
    pixels
        Shape (H, W).
    """
    if min(pixels.shape) < 3:
        return pixels
    for _ in range(PASSES):
        places, levels = _specks(pixels)
        if not len(levels):
            break
        pixels = pixels.copy()
        pixels[tuple(places)] = levels
    return pixels


def _specks(pixels: Grey) -> tuple[Int64, Pixels]:
    """Return the specks' rows and columns, shape (2, N), and the levels to give them."""
    low, high = profile_of(pixels).range
    found = [_specks_among(rows, pixels, APART * (high - low)) for rows in row_blocks(pixels.shape)]
    places, levels = zip(*found, strict=True)
    return np.concatenate(places, axis=1), np.concatenate(levels)


def _specks_among(rows: slice, pixels: Grey, apart: float) -> tuple[Int64, Pixels]:
    """Return the specks in some rows, as ``_specks`` does.

    Few pixels differ from those left and right of them; only these are compared with all eight.
    """
    block = np.pad(pixels[rows], ((0, 0), (1, 1)), "reflect")
    beside: Pixels = np.stack([block[:, :-2], block[:, 2:]])
    places = np.array(np.nonzero(_are_apart(block[:, 1:-1], beside, apart)))
    places[0] += rows.start
    around: Pixels = pixels[tuple(_touching(places, pixels.shape))]
    specks = _are_apart(pixels[tuple(places)], around, apart)
    levels: Pixels = np.median(around[:, specks], axis=0).astype(pixels.dtype)
    return places[:, specks], levels


def _are_apart(ones: Pixels, others: Pixels, apart: float) -> Boolean:
    """Say of each whether it is this much brighter, or darker, than all others, shape (N, ...)."""
    return _exceeds(ones, others.max(axis=0), apart) | _exceeds(others.min(axis=0), ones, apart)


def _exceeds(ones: Pixels, others: Pixels, apart: float) -> Boolean:
    # For unsigned levels a difference below 0 wraps to a large one.
    return np.asarray((ones > others) & (ones - others > apart))


def _touching(places: Int64, shape: tuple[int, ...]) -> Int64:
    """Return rows and columns of the eight pixels around each place, shape (2, 8, N), mirrored."""
    last = np.array(shape)[:, None, None] - 1
    around = np.abs(places[:, None] + np.array(_AROUND).T[:, :, None])
    return np.asarray(last - np.abs(last - around))
