"""The outlines of generated cells: from nearly round to spindles and stars, bent or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.arrays import Float64

#: Half a patch in mean radii, for outlines that stay within it.
_PLAIN_REACH = 1.6


@dataclass(frozen=True)
class Outline:
    """How the cells of a field are shaped.

    Parameters
    ----------
    elongation
        Largest length over width; each cell's is drawn from 1 to this.
    arms
        How many protrusions a cell has on average; the first two grow at its ends.
    bend
        How far cells are bowed (standard deviation, relative to a cell's curvature).
    """

    elongation: float = 1.5
    arms: float = 0.0
    bend: float = 0.0

    @property
    def plain(self) -> bool:
        return self.elongation <= 1.5 and not self.arms and not self.bend


def depths(rng: np.random.Generator, radius: float, outline: Outline) -> Float64:
    """Return the depth of each pixel of a square patch: 0 at the centre of a cell, 1 on its edge.

    Parameters
    ----------
    radius
        Of the disc with the cell's area, in pixels.
    """
    angle, stretch = rng.uniform(0, np.pi), np.sqrt(rng.uniform(1.0, outline.elongation))
    waves = [(rng.normal(0, 0.04), k, rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4)]
    lobes = _lobes(rng, outline.arms) if outline.arms else []
    bow = rng.normal(0, outline.bend) if outline.bend else 0.0

    def edge(around: Float64) -> Float64:
        """Return the distance of the edge at an angle, in mean radii."""
        smooth = 1 + sum(a * np.cos(k * around + phase) for a, k, phase in waves)
        spikes = sum(a * np.exp(k * (np.cos(around - at) - 1)) for a, k, at in lobes)
        return np.asarray(smooth + spikes)

    turn = edge(np.linspace(0, 2 * np.pi, 360, endpoint=False))
    size = 1 / np.sqrt(np.mean(turn**2)) if lobes else 1.0
    reach = _PLAIN_REACH
    if not outline.plain:
        longest = turn.max() * size * stretch
        reach = max(reach, longest + abs(bow) * longest**2)
    half = int(np.ceil(reach * radius)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x - bow * u**2 / radius
    u, v = u / stretch, v * stretch
    return np.asarray(np.hypot(u, v) / (radius * size * edge(np.arctan2(v, u))))


def _lobes(rng: np.random.Generator, arms: float) -> list[tuple[float, float, float]]:
    """Return length, sharpness and angle of each arm."""
    ends = rng.permutation([0.0, np.pi]) + rng.normal(0, 0.3, 2)
    angles = [*ends, *rng.uniform(0, 2 * np.pi, 6)][: rng.poisson(arms)]
    return [(rng.uniform(0.4, 1.5), rng.uniform(12, 60), float(at)) for at in angles]
