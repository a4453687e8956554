"""The detector for the first hour, before anything was learned: scikit-image alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label, regionprops
from skimage.segmentation import watershed

from model.boxes import Detections
from model.versions import ModelVersion
from preprocessing.prepare import Prepared

CLASSICAL_ID = "classical-1"
CLASSES = ("cell",)
THRESHOLD = 0.5

Float = NDArray[np.float32]


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
    """Finds cells by their brightness; its boxes are of one class, ``cell``."""

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        return [find_cells(image.pixels) for image in images]


def find_cells(pixels: Float) -> Detections:
    """Find cells in one image.

    Parameters
    ----------
    pixels
        Shape (H, W), in [0, 1].
    """
    smooth = gaussian(pixels, 1.0)
    if smooth.max() - smooth.min() < 1e-3:
        return Detections.empty(CLASSES)
    mask = smooth > threshold_otsu(smooth)
    if mask.mean() > 0.5:
        mask = ~mask
    distance = gaussian(ndimage.distance_transform_edt(mask), 2.0)
    peaks = (ndimage.maximum_filter(distance, 15) == distance) & mask
    regions = regionprops(watershed(-distance, label(peaks), mask=mask))
    regions = [r for r in regions if r.area >= 30]
    if not regions:
        return Detections.empty(CLASSES)
    boxes = np.array([[r.bbox[1], r.bbox[0], r.bbox[3], r.bbox[2]] for r in regions], np.float32)
    scores = np.array([r.solidity for r in regions], np.float32)
    order = np.argsort(-scores, kind="stable")
    return Detections(boxes[order], scores[order], np.zeros(len(order), np.int64), CLASSES)
