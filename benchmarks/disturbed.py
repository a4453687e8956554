"""What disturbs the starter, and is it said? `python -m benchmarks.disturbed`.

Teaching images of each set as they are, and as a careless microscope, camera or export would give
them. Printed: how many cells the starter counts in all, beside those that it counts in the clean
images, and how many of the images are flagged, by what. Needs CYTOLOOP_DATA; six minutes of one
core.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from benchmarks.real_images import real_images, spread
from benchmarks.sides import SETS
from benchmarks.tables import head_of, row_of
from model.judging.policy import Policy
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.looking.loaded import LoadedVersion
from model.wording import limits_in_words
from preprocessing.arrays import Float64
from preprocessing.images import ImageRecord
from preprocessing.resizing import resized

#: From levels in [0, 1] to pixels of any depth.
Disturbance = Callable[[Float64], NDArray[Any]]
BAR_PX = (60, 8)


def main() -> None:
    """Print a row for each disturbance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5, help="of each set")
    options = parser.parse_args()
    starter = Registry(Path(), STARTER_ID).load(STARTER_ID)
    levels = [
        _stretched(image.read().pixels)
        for name in SETS
        for image in spread(real_images(name).rest, options.images)
    ]
    heads = [f"{len(levels)} images", "cells counted", "of those counted clean", "images flagged"]
    print(head_of(heads), flush=True)
    clean = 0
    for title, disturbance in DISTURBANCES.items():
        counted, flags = count(starter, [disturbance(each) for each in levels])
        clean = clean or counted
        told = ", ".join(f"{flag}: {number}" for flag, number in flags.most_common())
        print(row_of([title, str(counted), f"{counted / clean:.0%}", told]), flush=True)


def count(version: LoadedVersion, images: Sequence[NDArray[Any]]) -> tuple[int, Counter[str]]:
    """Return how many cells are counted in the images together, and how many have each flag."""
    counted, flags = 0, Counter[str]()
    for pixels in images:
        (found,) = version.find([ImageRecord(pixels, "")])
        counted += len(found.detections.above(version.version.threshold))
        limits = limits_in_words(Policy.of(version.version).caps_reached(found.detections))
        flags.update({flag.split(":")[0] for flag in (*found.flags, *limits)})
    return counted, flags


def _stretched(pixels: NDArray[Any]) -> Float64:
    lowest, highest = float(pixels.min()), float(pixels.max())
    return np.asarray((pixels - lowest) / (highest - lowest), np.float64)


def _bytes(levels: Float64) -> NDArray[np.uint8]:
    return np.asarray(levels.clip(0, 1) * 255 + 0.5, np.uint8)


def _noisy(levels: Float64, deviation: float) -> NDArray[np.uint8]:
    return _bytes(levels + np.random.default_rng(0).normal(0, deviation, levels.shape))


def _specked(levels: Float64, share: float, values: Sequence[float]) -> NDArray[np.uint8]:
    """Return the levels with so large a share of the pixels at one of some values."""
    rng = np.random.default_rng(0)
    drawn = rng.choice(values, levels.shape)
    return _bytes(np.where(rng.random(levels.shape) < share, drawn, levels))


def _with_bar(levels: Float64, text: str) -> NDArray[np.uint16]:
    """Return 16-bit pixels, whose cells are dark beside a scale bar that an export burnt in."""
    drawn = Image.fromarray(np.zeros(levels.shape, np.uint8))
    right, bottom = drawn.width - 12, drawn.height - 12
    pen = ImageDraw.Draw(drawn)
    pen.rectangle((right - BAR_PX[0], bottom - BAR_PX[1], right, bottom), fill=1)
    pen.text((right - BAR_PX[0], bottom - BAR_PX[1] - 14), text, fill=1)
    return np.where(np.asarray(drawn) > 0, 65_535, levels * 4_000).astype(np.uint16)


def _in_levels(levels: Float64, number: int) -> NDArray[np.uint8]:
    return _bytes(np.minimum(np.floor(levels * number), number - 1) / (number - 1))


def _jpeg(levels: Float64, quality: int) -> NDArray[np.uint8]:
    encoded = io.BytesIO()
    Image.fromarray(_bytes(levels)).save(encoded, "JPEG", quality=quality)
    return np.asarray(Image.open(encoded))


def _shaded(levels: Float64, loss: float) -> NDArray[np.uint8]:
    """Return the levels under a light that falls off towards the corners by this share."""
    y, x = (np.linspace(-1, 1, side) for side in levels.shape)
    return _bytes(levels * (1 - loss * (y[:, None] ** 2 + x**2) / 2))


def _padded(levels: Float64) -> NDArray[np.uint8]:
    return _bytes(
        np.pad(levels, [(side // 4, side // 4) for side in levels.shape], constant_values=1)
    )


def _at_scale(levels: Float64, scale: float) -> NDArray[np.uint8]:
    height, width = (round(side * scale) for side in levels.shape)
    return _bytes(resized(levels.astype(np.float32), (height, width)).astype(np.float64))


#: As they are comes first: the others are held against it.
DISTURBANCES: dict[str, Disturbance] = {
    "as they are": _bytes,
    "one hot pixel in 700": lambda p: _specked(p, 1 / 700, (1.0,)),
    "1 % of salt and pepper": lambda p: _specked(p, 0.01, (0.0, 1.0)),
    "16 bits, a scale bar brighter than all": lambda p: _with_bar(p, ""),
    "the same, with letters": lambda p: _with_bar(p, "20 um"),
    "noise of 0.05 of the range": lambda p: _noisy(p, 0.05),
    "noise of 0.1": lambda p: _noisy(p, 0.1),
    "noise of 0.2": lambda p: _noisy(p, 0.2),
    "out of focus by 1 px": lambda p: _bytes(gaussian_filter(p, 1)),
    "out of focus by 3 px": lambda p: _bytes(gaussian_filter(p, 3)),
    "JPEG of quality 50": lambda p: _jpeg(p, 50),
    "JPEG of quality 10": lambda p: _jpeg(p, 10),
    "16 levels of grey": lambda p: _in_levels(p, 16),
    "four levels": lambda p: _in_levels(p, 4),
    "black and white": lambda p: _bytes((p > p.mean()).astype(np.float64)),
    "a tenth of the range": lambda p: _bytes(0.4 + 0.1 * p),
    "dark and bright exchanged": lambda p: _bytes(1 - p),
    "half of the light in the corners": lambda p: _shaded(p, 0.5),
    "a white margin of a quarter on each side": _padded,
    "twice as large": lambda p: _at_scale(p, 2.0),
    "half as large": lambda p: _at_scale(p, 0.5),
    "a quarter as large": lambda p: _at_scale(p, 0.25),
}

if __name__ == "__main__":
    main()
