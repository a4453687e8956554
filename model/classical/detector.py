"""The detector for the first hour, before anything was learned.

Cells are the regions that look most like one: elliptic, clearly outlined, of the size of the
others (``model.classical.nesting``). Whether cells are brighter or darker than their surroundings,
or only rougher, as in phase contrast, is tried at a low resolution. Touching cells are split at
their waists. Nothing depends on a magnification or a stain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import watershed

from model.boxes import CELL, Detections
from model.classical.nesting import choose, nest, paint
from model.classical.regions import SMALLEST, Labels, Regions, View, refine
from model.versions import ModelVersion
from preprocessing.arrays import Boolean, Float32, Float64, Int64
from preprocessing.noise import noise_of
from preprocessing.prepare import Prepared
from preprocessing.resizing import resized

ViewMaker = Callable[[Float64], View]

CLASSICAL_ID: Final = "classical-1"
CLASSES = (CELL,)
THRESHOLD = 0.5
SCORE_FLOOR = 0.1

#: Pixels to which images are shrunk: more take longer and find no more; fewer show roughness
#: better.
FINE, COARSE = 300_000, 75_000
#: Factor by which roughness must explain an image better than brightness does: it marks cells and
#: clutter alike.
ROUGHNESS_HANDICAP = 2.5
#: Range of levels, of the full one of 1, below which an image is empty.
FLAT = 1e-3
#: Factor by which the parts of a region with a waist must look better than the whole.
PARTING_GAIN = 1.05


def classical_version() -> ModelVersion:
    """Return the version that serves before anything was learned; the same in every registry."""
    return ModelVersion(
        id=CLASSICAL_ID,
        kind="classical",
        classes=(),
        threshold=THRESHOLD,
        created_at="2026-11-24T00:00:00+00:00",
    )


class ClassicalDetector:
    """Finds cells by brightness, shape and outline; its boxes are of one class, ``cell``."""

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        return [find_cells(image.pixels) for image in images]


def find_cells(pixels: Float32) -> Detections:
    """Find cells in one image.

    Parameters
    ----------
    pixels
        Shape (H, W), in [0, 1].

    Returns
    -------
    Boxes in its pixels, of one class; none below ``SCORE_FLOOR``, none in an image of fewer than
    three pixels a side.
    """
    if min(pixels.shape) < 3 or np.ptp(pixels) < FLAT:
        return Detections.empty(CLASSES)
    make_view = _best_view(_shrunk(pixels, COARSE))
    small = _shrunk(pixels, COARSE if make_view is _rough else FINE)
    labels, scores = _segment(make_view(small))
    if not len(scores):
        return Detections.empty(CLASSES)
    return _boxes(labels, scores, np.divide(pixels.shape, small.shape))


def _best_view(pixels: Float64) -> ViewMaker:
    """Return what makes the view in which the cells found cover most."""

    def covered(make_view: ViewMaker) -> float:
        labels, scores = _pick(make_view(pixels))[:2]
        area = np.bincount(labels.ravel(), minlength=len(scores) + 1)[1:]
        handicap = ROUGHNESS_HANDICAP if make_view is _rough else 1.0
        return float((area * scores).sum() / handicap)

    return max((_bright, _dark, _rough), key=covered)


def _bright(pixels: Float64) -> View:
    gradient = ndimage.gaussian_gradient_magnitude(pixels, 1.0)
    # Of white noise of deviation 1, smoothed so, the gradient is below 0.49 at 95 % of the pixels.
    by_noise = 0.49 * noise_of(pixels)
    return View.of(ndimage.gaussian_filter(pixels, 1.0), gradient, by_noise)


def _dark(pixels: Float64) -> View:
    bright = _bright(pixels)
    return replace(bright, levels=-bright.levels)


def _rough(pixels: Float64) -> View:
    detail = pixels - ndimage.gaussian_filter(pixels, 4.0)
    levels = np.sqrt(ndimage.gaussian_filter(detail**2, 3.0))
    gradient = ndimage.gaussian_gradient_magnitude(levels, 1.0)
    # The same for the roughness of white noise, found by trial.
    return View.of(levels, gradient, 0.04 * noise_of(pixels))


def _segment(view: View) -> tuple[Labels, Float64]:
    """Return the cells of a view as a label image, shape (H, W), and their cellness, shape (N,)."""
    labels, scores, typical = _pick(view)
    if not len(scores):
        return labels, scores
    return _part(refine(labels, view, _radius(typical)), scores, view, typical)


def _pick(view: View) -> tuple[Labels, Float64, float]:
    """Return the best regions of a view as :func:`_segment` does, and their typical area."""
    nothing = np.zeros(view.levels.shape, np.int32), np.zeros(0), 0.0
    floors = nest(view)
    if not floors:
        return nothing
    first = [floor.regions.cellness(view) for floor in floors]
    chosen = choose(floors, first)
    if not any(picked.any() for picked in chosen):
        return nothing
    areas = np.concatenate([f.regions.area[c] for f, c in zip(floors, chosen, strict=True)])
    weights = np.concatenate([s[c] for s, c in zip(first, chosen, strict=True)]) * areas
    typical = _weighted_median(areas, weights)
    # The second choice knows the size of the cells, which the first has found.
    second = [floor.regions.cellness(view, typical) for floor in floors]
    return *paint(floors, choose(floors, second), second), typical


def _part(labels: Labels, scores: Float64, view: View, typical: float) -> tuple[Labels, Float64]:
    """Split regions at their waists where the parts look more like cells than the whole."""
    parts, number = _waisted(labels, _radius(typical))
    if not number:
        return labels, scores
    owner = np.zeros(number + 1, np.int64)
    owner[parts.ravel()] = np.where(parts > 0, labels, 0).ravel()
    pieces = Regions.measure(parts, number, view.gradient)
    wholes = Regions.measure(labels, len(scores), view.gradient)
    image = view.levels.size
    # By form and size alone: the cut between two cells is no outline, and must not count as a bad
    # one. The parts inherit the outline of the whole.
    by_form = pieces.form(image) * pieces.size(typical)
    weight = np.bincount(owner[1:], pieces.area, len(scores) + 1)
    total = np.bincount(owner[1:], pieces.area * by_form, len(scores) + 1)
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    whole = wholes.form(image) * wholes.size(typical)
    gains = np.append(False, mean[1:] > PARTING_GAIN * whole)
    new_scores = by_form * wholes.outline(view)[owner[1:] - 1]
    return _replace(labels, scores, parts, new_scores, gains, owner)


def _waisted(labels: Labels, radius: float) -> tuple[Labels, int]:
    """Return the parts of the regions that have a waist, as a label image, and their number."""
    inside = (labels > 0) & (ndimage.minimum_filter(labels, 3) == ndimage.maximum_filter(labels, 3))
    depth = ndimage.distance_transform_edt(inside)
    depth = ndimage.gaussian_filter(depth, max(0.15 * radius, 0.7))
    reach = max(3, round(0.9 * radius)) | 1
    peaks = inside & (depth > 0.35 * radius) & (ndimage.maximum_filter(depth, reach) == depth)
    seeds = label(peaks, connectivity=2)  # type: ignore[no-untyped-call]
    of_region = np.unique(np.stack([labels[peaks], seeds[peaks]]), axis=1)[0]
    several = np.bincount(of_region, minlength=labels.max() + 1) > 1
    region = several[labels]
    seeds = label(seeds * region, connectivity=2)  # type: ignore[no-untyped-call]
    parts = watershed(-depth, seeds, mask=region)  # type: ignore[no-untyped-call]
    return parts.astype(np.int32), int(seeds.max())


def _replace(
    labels: Labels,
    scores: Float64,
    parts: Labels,
    part_scores: Float64,
    parted: Boolean,
    owner: Int64,
) -> tuple[Labels, Float64]:
    """Return label image and scores with the parts in place of the regions that are ``parted``.

    Parameters
    ----------
    labels, scores
        The regions, shape (H, W), 1 to N, and shape (N,).
    parts, part_scores
        The parts, shape (H, W), 1 to P, and shape (P,).
    parted
        Shape (N + 1,): whether a region gives way to its parts; the first, of no region, is False.
    owner
        Shape (P + 1,): the region of each part; the first is of none.
    """
    kept = np.flatnonzero(~parted[1:]) + 1
    area = np.bincount(parts.ravel(), minlength=len(owner))[1:]
    new = np.flatnonzero(parted[owner[1:]] & (area >= SMALLEST)) + 1
    of_regions = np.zeros(len(parted), np.int32)
    of_regions[kept] = np.arange(len(kept)) + 1
    of_parts = np.zeros(len(owner), np.int32)
    of_parts[new] = np.arange(len(new)) + 1 + len(kept)
    both = np.where(of_parts[parts] > 0, of_parts[parts], of_regions[labels])
    return both, np.concatenate([scores[kept - 1], part_scores[new - 1]])


def _boxes(labels: Labels, cellness: Float64, per_pixel: Float64) -> Detections:
    places = ndimage.find_objects(labels, len(cellness))
    rows = [
        (place[1].start, place[0].start, place[1].stop, place[0].stop, score)
        for place, score in zip(places, cellness, strict=True)
        if place is not None
    ]
    table = np.array(rows).reshape(-1, 5)
    edges = (table[:, :4] * [*per_pixel[::-1], *per_pixel[::-1]]).astype(np.float32)
    # The cellness from which boxes are best shown, about 0.25 on real cells, becomes 0.5.
    scores = np.sqrt(table[:, 4]).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    found = Detections(edges[order], scores[order], np.zeros(len(order), np.int64), CLASSES)
    return found.above(SCORE_FLOOR)


def _shrunk(pixels: Float32, most: int) -> Float64:
    factor = np.sqrt(most / pixels.size)
    if factor >= 1:
        return pixels.astype(np.float64)
    height, width = (max(3, round(side * factor)) for side in pixels.shape)
    return resized(pixels, (height, width)).astype(np.float64)


def _radius(area: float) -> float:
    return float(np.sqrt(area / np.pi))


def _weighted_median(values: Float64, weights: Float64) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])
