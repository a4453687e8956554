"""The shapes of which generated fields are made; all levels relative to a cell's contrast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from model.generated.outlines import Outline, depths
from preprocessing.arrays import Boolean, Float64

Shape = tuple[int, int]

ROUND = Outline()


@dataclass(frozen=True)
class Disc:
    """A place in a field, in pixels: where a cell or a smudge goes."""

    x: float
    y: float
    radius: float


def cell_patch(
    rng: np.random.Generator,
    radius: float,
    ring: float,
    texture: float,
    *,
    outline: Outline = ROUND,
    grains: float = 0.0,
    thinning: float = 0.0,
    nucleus: float = 0.0,
) -> tuple[Float64, Boolean]:
    """Return a mottled cell at the centre of a square patch.

    Parameters
    ----------
    radius
        Mean radius in pixels.
    ring
        0: filled; 1: a rim round an empty inside.
    texture
        Standard deviation of the mottling.
    grains
        How much stronger than the cell its granules are.
    thinning
        Part of its level, in [0, 1], that a cell loses from its middle to its edge.
    nucleus
        How much its nucleus differs from the cell, mostly by a rim and by the spots in it.

    Returns
    -------
    Levels around 1, zero outside, and which pixels are the cell's: both of shape (P, P).
    """
    depth = depths(rng, radius, outline)
    inside = depth <= 1
    dome = 1 - 0.3 * depth**2
    rim = 1.3 * np.exp(-(((depth - 0.8) / 0.16) ** 2))
    mottle = texture * smooth_noise(rng, depth.shape, max(radius / 6, 0.8))
    levels = (1 - ring) * dome + ring * rim + mottle
    if grains:
        levels = levels + grains * np.maximum(smooth_noise(rng, depth.shape, 1.2) - 1.5, 0)
    if thinning:
        levels = levels * (1 - thinning * np.minimum(depth, 1) ** rng.uniform(0.4, 1.5))
    if nucleus:
        levels = levels + nucleus * _nucleus(rng, levels.shape, radius)
    return np.where(inside, levels * rng.uniform(0.8, 1.2), 0.0), inside


def _nucleus(rng: np.random.Generator, shape: Shape, radius: float) -> Float64:
    """Return an oval about the middle: mostly paler than the cell, with a rim and a few spots."""
    own = radius * rng.uniform(0.3, 0.5)
    depth = depths(rng, own, Outline(2.0))
    levels = np.where(depth <= 1, rng.uniform(-0.8, 0.5), 0.0)
    levels += rng.uniform(0.2, 1.2) * np.exp(-(((depth - 1) / 0.15) ** 2))
    y, x = np.indices(depth.shape) - len(depth) // 2
    for _ in range(rng.integers(0, 4)):
        down, across = rng.normal(0, 0.35 * own, 2)
        spread = own * rng.uniform(0.1, 0.22)
        spot = np.exp(-((y - down) ** 2 + (x - across) ** 2) / (2 * spread**2))
        levels += rng.uniform(0.8, 2.0) * spot
    middle = np.array(shape[::-1]) / 2 + rng.normal(0, 0.15 * radius, 2)
    canvas = np.zeros(shape)
    window, part = windows(Disc(middle[0], middle[1], own), len(levels), shape)
    canvas[window] = levels[part]
    return canvas


def smooth_noise(rng: np.random.Generator, shape: Shape, sigma: float) -> Float64:
    """Return noise of mean 0 and standard deviation 1, smooth over ``sigma`` pixels, on average."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    return np.asarray(noise * (2 * np.sqrt(np.pi) * sigma))


def illumination(rng: np.random.Generator, shape: Shape) -> Float64:
    """Return light that rises by about 1 across the field, with a fall-off to its corners."""
    y, x = np.meshgrid(*[np.linspace(-0.5, 0.5, side) for side in shape], indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * x + np.sin(angle) * y
    waves = 0.25 * np.sin(2 * np.pi * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)))
    return np.asarray(slope + waves - 0.6 * (x**2 + y**2))


def specks(rng: np.random.Generator, shape: Shape, number: int) -> Float64:
    """Return dots a few pixels wide, as dust and debris make them."""
    sigma = 1.3
    points = np.zeros(shape)
    rows, columns = rng.integers(0, shape[0], number), rng.integers(0, shape[1], number)
    points[rows, columns] = rng.uniform(0.5, 1.5, number) * 2 * np.pi * sigma**2
    return np.asarray(ndimage.gaussian_filter(points, sigma))


def fibres(rng: np.random.Generator, shape: Shape, number: int) -> Float64:
    """Return thin curved lines."""
    canvas = np.zeros(shape)
    along = np.linspace(0, 1, 2 * sum(shape))[:, None]
    for _ in range(number):
        start, bend, end = rng.uniform(-0.1, 1.1, (3, 2)) * shape
        curve = (1 - along) ** 2 * start + 2 * along * (1 - along) * bend + along**2 * end
        seen = curve[((curve >= 0) & (curve < shape)).all(axis=1)].astype(int)
        canvas[seen[:, 0], seen[:, 1]] = rng.uniform(0.8, 1.6)
    return np.asarray(ndimage.gaussian_filter(canvas, 1.2) * 2.5)


def smudges(rng: np.random.Generator, shape: Shape, number: int, radius: float) -> Float64:
    """Return soft blobs as large as cells: what lies out of focus."""
    canvas = np.zeros(shape)
    for _ in range(number):
        depth = depths(rng, radius * rng.uniform(0.7, 1.1), ROUND)
        place = Disc(rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), radius)
        window, part = windows(place, depth.shape[0], shape)
        blob = np.where(depth <= 1, rng.uniform(0.8, 1.3), 0.0)[part]
        canvas[window] = np.maximum(canvas[window], blob)
    return np.asarray(ndimage.gaussian_filter(canvas, radius / 4))


def debris(rng: np.random.Generator, shape: Shape, number: int, radius: float) -> Float64:
    """Return small ragged clumps, in focus: what is left of cells."""
    canvas = np.zeros(shape)
    for _ in range(number):
        size = max(2.0, radius * rng.uniform(0.15, 0.45))
        levels, inside = cell_patch(rng, size, 0.0, 0.6, outline=Outline(3.0, 5.0, 0.2), grains=1.0)
        place = Disc(rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), size)
        window, part = windows(place, len(levels), shape)
        canvas[window] += np.where(inside[part], rng.uniform(0.2, 1.0) * levels[part], 0.0)
    return canvas


def windows(
    place: Disc, side: int, shape: Shape
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where a square patch falls in a field, and which part of the patch falls there."""
    low = np.round([place.y, place.x]).astype(int) - side // 2
    first, last = np.maximum(low, 0), np.maximum(np.minimum(low + side, shape), 0)
    field, patch = zip(first, last, strict=True), zip(first - low, last - low, strict=True)
    rows, columns = (slice(int(a), int(b)) for a, b in field)
    patch_rows, patch_columns = (slice(int(a), int(b)) for a, b in patch)
    return (rows, columns), (patch_rows, patch_columns)
