"""Regions of an image: how much each looks like a cell, by shape and outline alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels

from preprocessing.arrays import Float64

Labels = NDArray[np.int32]

#: Area in pixels below which a region has no shape.
SMALLEST = 20.0
#: Part of the image above which a region is background rather than a cell.
LARGEST = 0.1
#: How fast a score falls with the fill. Two touching discs fill 0.89 of the ellipse of their
#: moments; that must cost them more than their straight edge costs each half of a disc (0.99).
STRICTNESS = 8.0
#: Elongation up to which the score does not fall.
LONGEST = 3.0
#: Standard deviation of the logarithm of cells' areas in one image.
SIZE_SPREAD = 0.9


@dataclass(frozen=True, eq=False)
class View:
    """An image in which cells are brighter than what surrounds them.

    Parameters
    ----------
    levels, gradient
        Shape (H, W): the image, smoothed, and its gradient's magnitude.
    noise, sharp
        The gradient where there is nothing, and along a clear outline.
    """

    levels: Float64
    gradient: Float64
    noise: float
    sharp: float

    @classmethod
    def of(cls, levels: Float64, gradient: Float64, by_noise: float) -> View:
        """Take the gradient's median for ``noise``, its 95th percentile for ``sharp``.

        Parameters
        ----------
        by_noise
            Gradient that noise alone reaches: the least that ``noise`` is, so that in an empty
            image no outline passes for a clear one.
        """
        nothing, clear = np.percentile(gradient, [50, 95])
        return cls(levels, gradient, max(float(nothing), by_noise), float(clear))


@dataclass(frozen=True, eq=False)
class Regions:
    """What is measured of N regions; each field has shape (N,).

    Parameters
    ----------
    area
        In pixels.
    fill
        Area over that of the ellipse with the same second moments: 1 for every ellipse, less for
        any other shape.
    elongation
        Long over short axis of that ellipse.
    gradient
        Mean gradient along the outline.
    """

    area: Float64
    fill: Float64
    elongation: Float64
    gradient: Float64

    @classmethod
    def measure(cls, labels: Labels, number: int, gradient: Float64) -> Regions:
        """Measure the regions 1 to ``number`` of a label image, shape (H, W)."""
        inside = np.flatnonzero(labels)
        owner = labels.ravel()[inside]
        y, x = (axis.astype(np.float64) for axis in np.divmod(inside, labels.shape[1]))

        def mean(values: Float64) -> Float64:
            return np.asarray(np.bincount(owner, values, number + 1)[1:] / area)

        area = np.maximum(np.bincount(owner, minlength=number + 1)[1:], 1).astype(np.float64)
        mean_x, mean_y = mean(x), mean(y)
        # A pixel is a square, not a point: it has a variance of 1/12 itself.
        var_x = mean(x * x) - mean_x**2 + 1 / 12
        var_y = mean(y * y) - mean_y**2 + 1 / 12
        cov = mean(x * y) - mean_x * mean_y
        spread = np.sqrt((var_x - var_y) ** 2 + 4 * cov**2)
        short = np.maximum(var_x + var_y - spread, 1e-3)
        return cls(
            area=area,
            fill=area / (4 * np.pi * np.sqrt(np.maximum(var_x * var_y - cov**2, 1e-6))),
            elongation=np.sqrt((var_x + var_y + spread) / short),
            gradient=_mean_along_outlines(labels, number, gradient),
        )

    def form(self, image_area: float) -> Float64:
        """Return how much each has the form of a cell, shape (N,), in [0, 1]."""
        ellipse = np.exp(-STRICTNESS * np.maximum(1 - self.fill, 0))
        compact = np.exp(-np.maximum(self.elongation - LONGEST, 0))
        possible = (self.area >= SMALLEST) & (self.area <= LARGEST * image_area)
        return np.where(possible, ellipse * compact, 0.0)

    def outline(self, view: View) -> Float64:
        """Return how clear the outline of each is, shape (N,), in [0, 1]."""
        above = (self.gradient - view.noise) / max(view.sharp - view.noise, 1e-9)
        return np.asarray(np.sqrt(np.clip(above, 0, 1)))

    def cellness(self, view: View, typical_area: float | None = None) -> Float64:
        """Return how much each looks like a cell, shape (N,), in [0, 1].

        Parameters
        ----------
        typical_area
            Area of the image's cells, when it is known already.
        """
        size = 1.0 if typical_area is None else self.size(typical_area)
        return np.asarray(self.form(view.levels.size) * self.outline(view) * size)

    def size(self, typical_area: float) -> Float64:
        """Return how near each is to the typical area, shape (N,), in [0, 1]."""
        return np.asarray(np.exp(-0.5 * (np.log(self.area / typical_area) / SIZE_SPREAD) ** 2))


def refine(labels: Labels, view: View, radius: float) -> Labels:
    """Move the outline of each region to where the image falls half way to its background.

    A region of the tree is too wide where a low threshold gave it the rounder form, and too narrow
    where only a high one separates it from a cell that it touches.

    Parameters
    ----------
    radius
        Of a typical region, in pixels; outlines move by about a third of it.
    """
    reach = 0.35 * radius
    near = expand_labels(labels, reach)  # type: ignore[no-untyped-call]
    far = expand_labels(labels, 2 * reach) == 0  # type: ignore[no-untyped-call]
    weight = ndimage.gaussian_filter(far.astype(np.float32), 2 * radius) + 1e-6
    background = ndimage.gaussian_filter(np.where(far, view.levels, 0), 2 * radius) / weight
    pixels = np.maximum(np.bincount(labels.ravel()), 1)
    own = np.bincount(labels.ravel(), view.levels.ravel()) / pixels
    core = ndimage.distance_transform_edt(labels > 0) > reach
    bright = view.levels > 0.5 * (own[near] + background)
    return np.where(core | bright, near, 0).astype(np.int32)


def _mean_along_outlines(labels: Labels, number: int, gradient: Float64) -> Float64:
    edge = np.zeros(labels.shape, np.bool_)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    along = np.flatnonzero(edge & (labels > 0))
    owner = labels.ravel()[along]
    total = np.bincount(owner, gradient.ravel()[along], number + 1)[1:]
    return np.asarray(total / np.maximum(np.bincount(owner, minlength=number + 1)[1:], 1))
