"""Where the cells of a generated field lie: alone, touching, or over one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.generated.painting import Disc, Shape
from preprocessing.arrays import Float64

#: Part of a field that cells cover at most; in a more crowded one they are smaller.
COVER = 0.32


@dataclass(frozen=True)
class Crowd:
    """How large cells are and how close they lie; see ``FieldStyle``."""

    radius: float
    spread: float
    touching: float
    overlap: float


def lay_out(rng: np.random.Generator, shape: Shape, cells: int, crowd: Crowd) -> list[Disc]:
    """Return the places of so many cells, or of fewer where some find no room.

    Parameters
    ----------
    shape
        (H, W) of the field in pixels.
    """
    crowded = np.sqrt(COVER * shape[0] * shape[1] / (np.pi * max(cells, 1)))
    radius = min(crowd.radius, crowded)
    radii = radius * np.clip(rng.normal(1, crowd.spread, cells), 0.5, 1.6)
    places = np.zeros((0, 3))
    for own in radii:
        spot = _free_spot(rng, places, own, shape, crowd)
        if spot is not None:
            places = np.vstack([places, [*spot, own]])
    return [Disc(*place) for place in places]


def _free_spot(
    rng: np.random.Generator,
    places: Float64,
    radius: float,
    shape: Shape,
    crowd: Crowd,
) -> Float64 | None:
    against = len(places) > 0 and rng.random() < crowd.touching
    nearest = 0.91 - crowd.overlap
    spacing = nearest - 0.01 if against else 1.15
    for _ in range(20):
        tried = (
            _against(rng, places, radius, nearest) if against else rng.random((10, 2)) * shape[::-1]
        )
        inside = ((tried >= 0) & (tried < shape[::-1])).all(axis=1)
        apart = np.hypot(*(tried[:, None] - places[None, :, :2]).transpose(2, 0, 1))
        free = inside & (apart >= spacing * (radius + places[:, 2])).all(axis=1)
        if free.any():
            return np.asarray(tried[free.argmax()])
    return None


def _against(rng: np.random.Generator, places: Float64, radius: float, nearest: float) -> Float64:
    """Return centres (x, y), shape (10, 2), at which a cell touches one that is there."""
    others = places[rng.integers(0, len(places), 10)]
    angles = rng.uniform(0, 2 * np.pi, len(others))
    away = (others[:, 2] + radius) * rng.uniform(nearest, 1.0, len(others))
    towards = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(others[:, :2] + away[:, None] * towards)
