"""From a file's stored samples to grey, upright levels: colours, orientation, depth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocessing.arrays import Float32, Grey, Pixels
from preprocessing.blocks import row_blocks
from preprocessing.errors import UnreadableImage

#: Beyond this float32 does not hold every whole number.
MOST_EXACT = 2**24
#: A float beyond this is no level, such as the -3.4e38 that marks pixels without data: float32
#: could not hold sums and differences of such levels.
MOST = np.float64(1e37)
#: In a range this many times smaller than its levels, float32 has fewer steps than 16 bits.
FAR = 2**8
MOST_SAMPLES = 4
#: Depths that stay as they are; all others become float32.
PLAIN = (np.uint8, np.uint16)

# Fixed-point weights of red, green and blue (ITU-R BT.601), as in Pillow's mode L. Their sum is
# 2**16, so that sums of 16-bit levels fit unsigned 32 bits.
LUMINANCE = (19595, 38470, 7471)


def colours(pixels: Pixels) -> Pixels:
    """Return red, green and blue, shape (H, W, 3), or grey, shape (H, W), if it is grey.

    Parameters
    ----------
    pixels
        Shape (H, W) or (H, W, samples).

    Raises
    ------
    UnreadableImage
        There are more samples than colours and alpha have.
    """
    if pixels.ndim == 2:
        return pixels
    samples = pixels.shape[2]
    if samples > MOST_SAMPLES:
        raise of_channels(samples)
    if samples < 3 or all(np.array_equal(pixels[..., 0], pixels[..., s]) for s in (1, 2)):
        return pixels[..., 0]
    return pixels[..., :3]


def luminance(pixels: Pixels) -> Pixels:
    """Return grey pixels, shape (H, W), of pixels as :func:`colours` takes them.

    Grey that is stored as colour keeps its levels. The luminance of 8-bit colours has 16 bits, 256
    steps to a level of white: with 8 bits an image in blue alone, such as a DAPI channel, would
    keep only 30 of its 256 levels.

    Raises
    ------
    UnreadableImage
        There are more samples than colours and alpha have.
    """
    pixels = colours(pixels)
    if pixels.ndim == 2:
        return pixels
    is_plain = pixels.dtype in PLAIN
    kind = np.uint16 if is_plain else np.result_type(pixels.dtype, np.float32)
    grey: Pixels = np.empty(pixels.shape[:2], kind)
    for rows in row_blocks(pixels.shape):
        grey[rows] = (_weighted if is_plain else _weighted_exactly)(pixels[rows])
    return grey


def of_channels(number: int) -> UnreadableImage:
    """Return the error for a page with this many channels: only one could be looked at."""
    return UnreadableImage(f"{number} channels in one page; save the one to look at.")


def _weighted(pixels: Pixels) -> NDArray[np.uint32]:
    shift = np.uint32(8 * pixels.itemsize)
    total = np.full(pixels.shape[:2], 2**shift // 2, np.uint32)
    for sample, weight in enumerate(LUMINANCE):
        total += pixels[..., sample] * np.uint32(weight)
    return total >> shift


def _weighted_exactly(pixels: Pixels) -> Pixels:
    return np.asarray(pixels @ (np.array(LUMINANCE) / 2**16))


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo the rotation and mirroring of an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def grey_levels(pixels: Pixels) -> Grey:
    """Return stored levels, shape (H, W), at the depths that ``images.read_image`` describes.

    Raises
    ------
    UnreadableImage
        There are no pixels, none is a finite level, or the levels are no real numbers.
    """
    if pixels.size == 0:
        raise UnreadableImage("it has no pixels.")
    if pixels.dtype == np.bool_:
        return np.where(pixels, np.uint8(255), np.uint8(0))
    if pixels.dtype in PLAIN:
        return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    if pixels.dtype.kind not in "iuf":
        raise UnreadableImage(f"pixels of type {pixels.dtype}; save it with 8 or 16 bits.")
    if pixels.dtype.kind == "f":
        return _of_floats(pixels)
    least, greatest = pixels.min(), pixels.max()
    if max(-int(least), int(greatest)) <= MOST_EXACT:
        return np.ascontiguousarray(pixels, np.float32)
    levels = np.empty(pixels.shape, np.float32)
    for rows in row_blocks(pixels.shape):
        # A difference that overflows its signed type is right again when read as unsigned.
        levels[rows] = (pixels[rows] - least).view(f"u{pixels.itemsize}")
    return levels


def _of_floats(pixels: NDArray[np.floating[Any]]) -> Float32:
    least, greatest = float(pixels.min()), float(pixels.max())
    all_are_levels = least >= -MOST and greatest <= MOST
    if all_are_levels and pixels.itemsize <= 4:
        return np.ascontiguousarray(pixels, np.float32)
    if not all_are_levels:
        least, greatest = _range(pixels)
    far = min(MOST_EXACT, FAR * (greatest - least))
    is_far = pixels.itemsize > 4 and max(-least, greatest) > far
    levels = np.empty(pixels.shape, np.float32)
    for rows in row_blocks(pixels.shape):
        known = np.fmax(pixels[rows], least)  # fmax prefers a number to NaN
        levels[rows] = np.minimum(known, greatest) - (least if is_far else 0)
    return levels


def _range(pixels: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Return the least and the greatest of the pixels that are levels."""
    are_levels = pixels >= -MOST
    are_levels &= pixels <= MOST
    if not are_levels.any():
        raise UnreadableImage(
            f"not one of its pixels is a finite number within ±{MOST:.0e}; save it with 8 or 16"
            " bits."
        )
    least = pixels.min(where=are_levels, initial=np.inf)
    greatest = pixels.max(where=are_levels, initial=-np.inf)
    return float(least), float(greatest)
