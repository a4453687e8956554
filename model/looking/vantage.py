"""Where a look at a part of an image shows most: in the middle, unless there is little."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from model.looking.seams import Tile
from model.looking.tiling import middle
from preprocessing.arrays import Boolean, Float32
from preprocessing.prepare import Prepared, rescaled

#: Side, in pixels of a view, of the grains that are averaged: little noise is left, edges are.
GRAIN_PX = 8
#: Multiple of the median slope from which on a slope is not noise.
STEEP = 3.0
#: The middle will do where it shows at least this share of what the best place shows.
ENOUGH = 0.25


def vantage(image: Prepared, scale: float, side_px: int) -> Tile:
    """Return the part of an image to look at, where a view at some scale does not show all of it.

    A place shows much where many of its grains are steep, however steep they are: a speck or a
    scale bar has few.

    Parameters
    ----------
    scale
        Of the view, prepared pixels per raw pixel.
    side_px
        Of the view, in its own pixels.
    """
    tile = middle(image, round(side_px * image.scale / scale))
    room = np.array([image.height - (tile.bottom - tile.top), image.width - tile.right + tile.left])
    if not room.any():
        return tile
    shares = _shares(_steep(rescaled(image, scale / GRAIN_PX)), side_px // GRAIN_PX)
    last = np.array(shares.shape) - 1
    if shares[tuple(last // 2)] >= ENOUGH * shares.max():
        return tile
    best = np.array(np.unravel_index(shares.argmax(), shares.shape))
    top, left = np.rint(room * best / np.maximum(last, 1)).astype(int).tolist()
    return Tile(left, top, left + tile.right - tile.left, top + tile.bottom - tile.top)


def _steep(grains: Prepared) -> Boolean:
    """Say of each grain whether it is on a slope that is not noise."""
    slopes = np.hypot(*(ndimage.sobel(grains.pixels, axis) for axis in (0, 1)))
    steep: Boolean = slopes > STEEP * np.median(slopes)
    return steep


def _shares(steep: Boolean, side: int) -> Float32:
    """Return the share of steep grains in each window of ``side`` grains a side, by its corner."""
    sides = [min(side, length) for length in steep.shape]
    centred = ndimage.uniform_filter(steep.astype(np.float32), sides)
    corners = [slice(s // 2, s // 2 + n - s + 1) for s, n in zip(sides, steep.shape, strict=True)]
    shares: Float32 = centred[tuple(corners)]
    return shares
