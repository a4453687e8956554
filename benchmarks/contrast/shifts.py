"""What is done to the test images: microscopes, lamps and cameras other than those learned from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from preprocessing.images import ImageRecord

Pixels = NDArray[np.float64]

AS_IS = "as is"


def _about_mean(gain: float) -> Callable[[Pixels], Pixels]:
    return lambda p: p.mean() + gain * (p - p.mean())


def _vignette(pixels: Pixels) -> Pixels:
    rows, columns = (np.linspace(-1, 1, n) for n in pixels.shape)
    radius = (rows[:, None] ** 2 + columns[None, :] ** 2) / 2
    return pixels * (1 - 0.5 * radius)


def _noise(pixels: Pixels) -> Pixels:
    return pixels + np.random.default_rng(0).normal(0, 8, pixels.shape)


#: What is done to the 8-bit levels of a test image; the result is rounded and clipped to 8 bits.
SHIFTS: dict[str, Callable[[Pixels], Pixels]] = {
    AS_IS: lambda p: p,
    "gain 0.6": _about_mean(0.6),
    "gain 1.4": _about_mean(1.4),
    "gamma 0.5": lambda p: 255 * (p / 255) ** 0.5,
    "gamma 2": lambda p: 255 * (p / 255) ** 2,
    "vignette": _vignette,
    "noise": _noise,
}


def shifted(image: ImageRecord, shift: str) -> ImageRecord:
    """Return an 8-bit image as the shift of that name makes it."""
    levels = SHIFTS[shift](image.pixels.astype(np.float64))
    return replace(image, pixels=np.clip(np.rint(levels), 0, 255).astype(np.uint8))
