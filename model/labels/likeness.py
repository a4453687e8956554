"""Which images show the same field: a 64-bit difference hash, blind to uneven light.

Krawetz's dHash (2013) of the image shrunk to 8×9: is each block brighter than its left neighbour?
A quadric surface is taken out first; else the light of one microscope, falling off to the edges,
makes all of its images alike. ``docs/evaluation.md`` has the figures that ``MOST_BITS`` rests on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from preprocessing.arrays import Boolean, Float64, Grey

#: Fingerprints that differ in so many bits or fewer are of one field.
MOST_BITS = 8
ROWS, COLUMNS = 8, 9
LONGEST_SIDE = 2048
#: Share of the grey level; less than this is the rounding of a plain image.
PLAIN = 1e-4


def fingerprint_of(pixels: Grey) -> str:
    """Return 16 hex digits that images of one field share, but for a few bits.

    Gain, gamma, noise, blur, JPEG, another size and a shift by about a hundredth of the width
    change few bits; a turned, mirrored or cropped image has another fingerprint.

    Parameters
    ----------
    pixels
        Shape (H, W).

    Returns
    -------
    The fingerprint; empty for an image too plain or too small to tell.
    """
    from skimage.transform import resize_local_mean

    if min(pixels.shape) < COLUMNS:
        return ""
    # Every so many pixels of a large image do: each block still has thousands.
    step = max(1, max(pixels.shape) // LONGEST_SIDE)
    levels = pixels[::step, ::step].astype(np.float32)
    blocks = resize_local_mean(levels, (ROWS, COLUMNS))  # type: ignore[no-untyped-call]
    even = blocks - _surface(blocks)
    if even.std() <= PLAIN * np.abs(blocks).max():
        return ""
    return np.packbits(np.diff(even, axis=1) > 0).tobytes().hex()


def group_alike(fingerprints: Sequence[str]) -> list[int]:
    """Return, for each image, the place of the first image of its group.

    An image joins the group of the earliest image within ``MOST_BITS``, else it begins one. What
    comes later never moves an image into another group. An empty fingerprint is like no other.

    Parameters
    ----------
    fingerprints
        As :func:`fingerprint_of` made them, in a lasting order.
    """
    codes = _codes(fingerprints)
    known = np.array([bool(each) for each in fingerprints], np.bool_)
    groups: list[int] = []
    for place, code in enumerate(codes):
        near = known[:place] & _near(codes[:place], code)
        alike = bool(known[place]) and bool(near.any())
        groups.append(groups[int(near.argmax())] if alike else place)
    return groups


def alike_to_any(fingerprints: Sequence[str], others: Sequence[str]) -> list[bool]:
    """Say of each image whether it is within ``MOST_BITS`` of any of the others."""
    codes = _codes([other for other in others if other])
    return [bool(each) and bool(_near(codes, _codes([each])[0]).any()) for each in fingerprints]


def _codes(fingerprints: Sequence[str]) -> NDArray[np.uint64]:
    return np.array([int(each or "0", 16) for each in fingerprints], np.uint64)


def _near(codes: NDArray[np.uint64], code: np.uint64) -> Boolean:
    near: Boolean = np.bitwise_count(codes ^ code) <= MOST_BITS
    return near


def _surface(blocks: NDArray[np.floating]) -> Float64:
    """Return the quadric surface that fits best, of the same shape."""
    y, x = np.mgrid[-1 : 1 : ROWS * 1j, -1 : 1 : COLUMNS * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    weights = np.linalg.lstsq(terms, blocks.ravel(), rcond=None)[0]
    surface: Float64 = (terms @ weights).reshape(blocks.shape)
    return surface
