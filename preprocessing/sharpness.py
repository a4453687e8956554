"""How sharp an image is, and below what sharpness it is out of focus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocessing.arrays import Float32, Float64, Grey
from preprocessing.blocks import row_blocks

#: Octaves of detail: 1 pixel (mostly noise), 2, 4, 8 and 16 pixels.
OCTAVES = 5
#: The least energy of an octave; anything below is rounding.
FLOOR = 1e-4
#: Noise is estimated from every few rows: these are enough.
NOISE_ROWS = 8

#: An image is out of focus if it is less sharp than the usual training image by this many times
#: their usual difference (the median one, as a standard deviation), and by at least an octave and a
#: half: a few similar images do not show how much images differ.
FACTOR = 4.0
LEAST_STEP = 1.5

#: Sharpness of an image that is too small or too even to measure.
UNKNOWN = float("nan")


def sharpness_of(pixels: Grey) -> float:
    """Return how much fine detail an image has for its coarse detail, as a power of two.

    The energy of an octave is the mean square of the second differences, down and across, between
    means of that many pixels. The energy of a step edge doubles with each octave, whatever the size
    of the cell, so an image in focus measures the same at any magnification. The energy of a
    blurred edge grows sixteenfold. The finest octave shows how much noise is in the others, and
    this is subtracted. Neither gain, offset nor depth changes the figure.

    Parameters
    ----------
    pixels
        Shape (H, W).

    Returns
    -------
    log2 of fine over coarse energy; NaN if a side is below 64 pixels or the image is constant.
    """
    if min(pixels.shape) < 2 << OCTAVES:
        return UNKNOWN
    energies = _octave_energies(_of_usual_size(pixels))
    noise = energies[0] / 4.0 ** np.arange(OCTAVES)
    detail = np.maximum(energies - noise, FLOOR * energies.sum())[1:]
    fine, coarse = detail[:2].sum(), detail[2:].sum()
    return float(np.log2(fine / coarse)) if coarse > 0 else UNKNOWN


def least_sharpness(sharpness: Sequence[float]) -> float:
    """Return the sharpness below which an image is out of focus, given the training images'.

    Returns
    -------
    Minus infinity if no image's sharpness is known.
    """
    known = np.asarray([value for value in sharpness if np.isfinite(value)])
    if known.size == 0:
        return float("-inf")
    usual = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - usual)))
    return usual - max(FACTOR * spread, LEAST_STEP)


def _of_usual_size(pixels: Grey) -> Grey:
    """Scale float levels so that their squares neither overflow nor vanish; others stay."""
    if pixels.dtype.kind != "f":
        return pixels
    return np.asarray(pixels / np.float32(np.ptp(pixels) or 1), np.float32)


def _octave_energies(pixels: Grey) -> Float64:
    # Doubled, since noise is the same down and across.
    energies = [2 * _energy_across(pixels[::NOISE_ROWS])]
    means: NDArray[Any] = pixels
    for _ in range(1, OCTAVES):
        means = _halved(means)
        energies.append(_energy_across(means) + _energy_down(means))
    return np.array(energies)


def _energy_across(levels: NDArray[Any]) -> float:
    """Return the mean square of the second differences along the rows."""
    total = 0.0
    for rows in row_blocks(levels.shape):
        block = levels[rows].astype(np.float32, copy=False)
        total += _square_sum(block[:, :-2] + block[:, 2:] - 2 * block[:, 1:-1])
    return total / float(levels.shape[0] * (levels.shape[1] - 2))


def _energy_down(levels: Float32) -> float:
    total = 0.0
    for rows in row_blocks(levels[2:].shape):
        block = levels[rows.start : rows.stop + 2]
        total += _square_sum(block[:-2] + block[2:] - 2 * block[1:-1])
    return total / float((levels.shape[0] - 2) * levels.shape[1])


def _square_sum(values: NDArray[Any]) -> float:
    return float(np.vdot(values, values))


def _halved(pixels: NDArray[Any]) -> Float32:
    """Return the means of blocks of 2 × 2, without an odd last row or column."""
    height, width = (side // 2 for side in pixels.shape)
    result = np.empty((height, width), np.float32)
    for rows in row_blocks(result.shape):
        block = pixels[2 * rows.start : 2 * rows.stop, : 2 * width]
        pairs = np.add(block[0::2], block[1::2], dtype=np.float32)
        means = np.add(pairs[:, 0::2], pairs[:, 1::2], out=result[rows])
        means *= np.float32(0.25)
    return result
