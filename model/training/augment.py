"""Variations that fit micrographs, where up is as good as down: boxes stay tight under each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy import ndimage

from model.boxes import sides_of
from model.generated import optics
from model.labels.examples import LabelledImage
from model.rcnn.cut import CUT
from model.training.data import Example, inside
from model.wording import counted
from preprocessing.arrays import Boolean, Float32, Float64

#: Share of a box's area that must lie in a window for the box to be learned.
_VISIBLE = 0.5
#: Windows are drawn up to this share of their side beyond an image's edge, and moved back inside:
#: else hardly one would end where the image does.
_BEYOND = 0.25
#: How far a scale is astray, either way: logarithms of the factor.
_ASTRAY = (1.1, 1.8)
#: Sides, in pixels of the prepared image, at which cells are then still to be found: about what the
#: anchors of a detector for any size span.
_FINDABLE_PX = (14.0, 110.0)
#: Percentiles of the levels that become black and white.
_STRETCHED = (0.5, 99.5)


@dataclass(frozen=True)
class Variation:
    """How far examples are varied; see the fields of the same names in ``TrainConfig``."""

    crop_px: int
    zoom: float = 0.0
    astray: float = 0.0
    tone: float = 0.0
    invert: float = 0.0
    optics: float = 0.0
    shade: float = 0.0
    blur: float = 0.0
    noise: float = 0.0


def vary(
    examples: Sequence[Example], rng: np.random.Generator, variation: Variation, first: int = 0
) -> list[Example]:
    """Return a varied batch, or a share of one.

    Each example is zoomed, cropped, flipped and toned by itself, with random numbers of its own:
    what becomes of it does not depend on those beside it. All of a batch are turned by a quarter or
    none, since images of mixed orientation would be padded to a square.

    Parameters
    ----------
    rng
        New, and the same for all processes that make a share of the batch.
    first
        The place in the batch of the first of the examples.
    """
    turned = bool(rng.random() < 0.5)
    own = rng.spawn(first + len(examples))[first:]
    return [
        _varied(example, each, variation, turned)
        for example, each in zip(examples, own, strict=True)
    ]


def _varied(
    example: Example, rng: np.random.Generator, variation: Variation, turned: bool
) -> Example:
    cropped = _zoomed(example, rng, variation)
    flipped = flip(cropped, across=rng.random() < 0.5, down=rng.random() < 0.5)
    return _seen_otherwise(transpose(flipped) if turned else flipped, rng, variation)


def _zoomed(example: Example, rng: np.random.Generator, variation: Variation) -> Example:
    """Cut a window and bring it to ``crop_px``: the closer the look, the smaller the window."""
    if variation.astray and rng.random() < variation.astray:
        factor = float(np.exp(rng.choice([-1, 1]) * rng.uniform(*_ASTRAY)))
        return findable(_window(example, factor, rng, variation))
    zoom = float(np.exp(rng.uniform(-variation.zoom, variation.zoom)))
    return _window(example, zoom, rng, variation)


def _window(
    example: Example, zoom: float, rng: np.random.Generator, variation: Variation
) -> Example:
    side = variation.crop_px
    cropped = crop(example, max(1, round(side / zoom)), rng) if side else example
    return resized(cropped, zoom) if zoom != 1 else cropped


def findable(example: Example) -> Example:
    """Leave out the boxes of cells that are cut, or too small or large to be found at a scale."""
    sides = sides_of(example.xyxy_px)
    kept = (sides >= _FINDABLE_PX[0]) & (sides <= _FINDABLE_PX[1]) & (example.labels != CUT)
    return Example(example.pixels, example.xyxy_px[kept], example.labels[kept])


def _seen_otherwise(example: Example, rng: np.random.Generator, variation: Variation) -> Example:
    """Change how the cells look and leave them where they are."""
    seen = example
    if variation.optics and rng.random() < variation.optics:
        seen = through_other_optics(seen, rng)
    seen = tone(seen, rng, variation.tone)
    if rng.random() < variation.invert:
        seen = inverted(seen)
    if variation.shade:
        seen = shaded(seen, rng, variation.shade)
    if variation.blur:
        seen = blurred(seen, float(rng.uniform(0, variation.blur)))
    if variation.noise:
        seen = noisy(seen, rng, float(rng.uniform(0, variation.noise)))
    return seen


def flip(example: Example, across: bool, down: bool) -> Example:
    """Mirror left to right (``across``), top to bottom (``down``), both or neither."""
    pixels, xyxy = example.pixels, example.xyxy_px
    height, width = pixels.shape
    if across:
        pixels = pixels[:, ::-1]
        xyxy = np.stack([width - xyxy[:, 2], xyxy[:, 1], width - xyxy[:, 0], xyxy[:, 3]], axis=1)
    if down:
        pixels = pixels[::-1]
        xyxy = np.stack([xyxy[:, 0], height - xyxy[:, 3], xyxy[:, 2], height - xyxy[:, 1]], axis=1)
    return Example(pixels, xyxy, example.labels)


def transpose(example: Example) -> Example:
    """Swap rows and columns; with the flips this gives the quarter turns."""
    return Example(example.pixels.T, example.xyxy_px[:, [1, 0, 3, 2]], example.labels)


def crop(example: Example, side: int, rng: np.random.Generator) -> Example:
    """Cut a window of at most ``side`` pixels a side; boxes less than half visible become ``CUT``.

    Half of the windows are centred on a random box, so that sparse images show their cells.
    """
    height, width = example.pixels.shape
    if height <= side and width <= side:
        return example
    left, top = _corner(example, side, rng)
    pixels = example.pixels[top : top + side, left : left + side]
    edges, wide, visible = in_window(example.xyxy_px, left, top, pixels.shape)
    labels = np.where(visible, example.labels, CUT)
    return Example(pixels, edges[wide], labels[wide])


def in_window(
    xyxy_px: Float32, left: int, top: int, shape: tuple[int, ...]
) -> tuple[Float32, Boolean, Boolean]:
    """Return boxes in a window's pixels, clipped to it.

    Parameters
    ----------
    xyxy_px
        Shape (N, 4), in pixels of the image.
    left, top
        Where the window begins.
    shape
        (H, W) of the window.

    Returns
    -------
    Shape (N, 4), float32; and of shape (N,), bool: which boxes are in the window, and which with at
    least half of their area.
    """
    edges, wide = inside(xyxy_px - np.array([left, top] * 2, np.float32), shape)
    return edges, wide, wide & (_area(edges) >= _VISIBLE * _area(xyxy_px))


def too_large(images: Sequence[LabelledImage], scale: float, variation: Variation) -> str:
    """Say how many cells are too large for any window that is learned from; empty for none.

    Parameters
    ----------
    images
        At least one.
    scale
        At which the images are learned from, prepared pixels per raw pixel.
    """
    if not variation.crop_px:
        return ""
    side = round(variation.crop_px * np.exp(variation.zoom))
    boxes = np.concatenate([image.xyxy_px for image in images]) * np.float32(scale)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).max(axis=1) > side]
    to_middle = side / 2 - (boxes[:, :2] + boxes[:, 2:]) / 2
    *_, shown = in_window(boxes + np.tile(to_middle, 2), 0, 0, (side, side))
    if shown.all():
        return ""
    return (
        f"not learned: {counted(int((~shown).sum()), 'cell')} far larger than the parts of images"
        f" that are learned from ({side / scale:.0f} px); such are to be drawn by hand"
    )


def _corner(example: Example, side: int, rng: np.random.Generator) -> tuple[int, int]:
    height, width = example.pixels.shape
    room = np.array([max(width - side, 0), max(height - side, 0)])
    beyond = np.minimum(round(_BEYOND * side), room)
    corner = np.clip(rng.integers(-beyond, room + beyond + 1), 0, room)
    if len(example.xyxy_px) and rng.random() < 0.5:
        box = example.xyxy_px[rng.integers(len(example.xyxy_px))]
        centre = (box[:2] + box[2:]) / 2
        corner = np.clip(centre - side / 2, 0, room).astype(int)
    return int(corner[0]), int(corner[1])


def _area(xyxy: Float32) -> Float32:
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])


def tone(example: Example, rng: np.random.Generator, toning: float) -> Example:
    """Change gain (about the mean) and gamma by up to ``toning``, as lamps and cameras do.

    Parameters
    ----------
    toning
        In [0, 1): the gain is within 1 ± this, the logarithm of gamma within ± this.
    """
    gain, gamma = rng.uniform(-toning, toning) + 1, np.exp(rng.uniform(-toning, toning))
    pixels = example.pixels.astype(np.float32)
    mean = pixels.mean()
    toned = np.clip(mean + (pixels - mean) * np.float32(gain), 0, 1) ** np.float32(gamma)
    return replace(example, pixels=toned)


def through_other_optics(example: Example, rng: np.random.Generator) -> Example:
    """Show an example as another microscope might, stretched to [0, 1]."""
    seen = optics.of_another_microscope(example.pixels.astype(np.float64), rng)
    low, high = np.percentile(seen, _STRETCHED)
    return _with_levels(example, (seen - low) / max(high - low, 1e-6))


def inverted(example: Example) -> Example:
    """Exchange dark and bright."""
    return replace(example, pixels=1 - example.pixels.astype(np.float32))


def resized(example: Example, factor: float) -> Example:
    """Enlarge or shrink an example, its boxes with it; smoothed where it shrinks."""
    height, width = example.pixels.shape
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    picture = Image.fromarray(np.ascontiguousarray(example.pixels, np.float32))
    pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
    exact = np.array([size[0] / width, size[1] / height] * 2, np.float32)
    edges, wide = inside(example.xyxy_px * exact, pixels.shape)
    return Example(pixels, edges[wide], example.labels[wide])


def shaded(example: Example, rng: np.random.Generator, most: float) -> Example:
    """Dim the light towards one side and towards the corners.

    Either takes up to ``most``, in [0, 1], of the light: a corner may lose about twice that.
    """
    height, width = example.pixels.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    slope_x, slope_y, fall = rng.uniform(-most, most, 3) / 2
    light = 1 + slope_x * x + slope_y * y - abs(fall) * (x**2 + y**2)
    return _with_levels(example, example.pixels * (light / light.max()))


def blurred(example: Example, sigma: float) -> Example:
    """Put an example out of focus by a Gaussian of this standard deviation in pixels."""
    levels = ndimage.gaussian_filter(example.pixels.astype(np.float32), sigma)
    return _with_levels(example, levels)


def noisy(example: Example, rng: np.random.Generator, sigma: float) -> Example:
    """Add a camera's noise of this standard deviation, in parts of the range of grey levels."""
    return _with_levels(example, example.pixels + rng.normal(0, sigma, example.pixels.shape))


def _with_levels(example: Example, levels: Float64 | Float32) -> Example:
    return replace(example, pixels=np.clip(levels, 0, 1).astype(np.float32))
