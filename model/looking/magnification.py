"""Whether cells are of the size that a version learned from: it sees all images at one scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.boxes import sides_of
from model.config import DetectorConfig
from model.labels.examples import LabelledImage
from preprocessing.arrays import Float32

#: Flag of an image whose cells are far larger or smaller than those of all images learned from.
UNLIKE_SIZE = "unlike-size"
#: From so many cells on their median size is typical of an image.
FEWEST = 5
#: Factor by which a size is far off. Microscopes magnify by steps of 2: what differs by more than
#: this is nearer to the next step.
FAR = 1.5
#: The same for a size known by few cells, or by none at the version's own scale.
FAR_FROM_FEW = 2.0
#: Factor between the typical sizes of images from which on their magnifications differ too.
MIXED = 3.0


def typical_side(xyxy_px: Float32) -> float | None:
    """Return the median of √(width · height) of boxes, shape (N, 4); None for too few of them."""
    if len(xyxy_px) < FEWEST:
        return None
    return float(np.median(sides_of(xyxy_px)))


def learned_sides(images: Sequence[LabelledImage]) -> tuple[float, float] | None:
    """Return the smallest and the largest side typical of an image; None where none is known."""
    sides = [side for image in images if (side := typical_side(image.xyxy_px))]
    return (min(sides), max(sides)) if sides else None


def is_unlike(side: float | None, learned: tuple[float, float], far: float = FAR) -> bool:
    """Say whether an image's typical side is far from all that were learned from; None is not."""
    smallest, largest = learned
    return side is not None and not smallest / far <= side <= largest * far


def is_too_small(side: float | None, config: DetectorConfig) -> bool:
    """Say whether cells, enlarged as far as it goes, are far smaller than a detector looks for."""
    return side is not None and side * config.enlargement * FAR < config.small_cell_px


def mixed(learned: tuple[float, float] | None) -> tuple[str, ...]:
    """Return a note where what was learned from is of several magnifications."""
    if learned is None or learned[1] <= MIXED * learned[0]:
        return ()
    return (
        f"cells are typically {learned[0]:.0f} px large in one of the images learned from and"
        f" {learned[1]:.0f} px in another, and all are looked at at one scale: a project for each"
        " magnification would find more",
    )
