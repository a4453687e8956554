"""The label guard: boxes that look like a slip of the hand, found before anything learns from them.

A pure function of what was drawn. It judges the drawing, not the cell: a box is set aside when it
is too thin to hold a cell, lies on another of its class, or has a size that none of its class has.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.boxes import Box, edges_of, overlapping, sides_of
from model.wording import counted
from preprocessing.arrays import Boolean, Float64

Reason = Literal["one-pixel", "outside", "double", "size"]

#: A side that rounds to one pixel is a click, not a drawn box.
THINNEST_PX = 1.5
SAME_CELL_IOU = 0.8
#: Of fewer boxes of a class nobody can say which size is usual.
FEWEST_BOXES = 30
#: Beyond the quartiles, in quartile distances of log size: Tukey's (1977) "far out".
FENCE = 3.0
#: Times smaller or larger than the median: rare large cells are seldom that much larger.
FAR = 3.0
#: Another box so many times smaller or larger shows that such cells are about.
ALONE = 1.5
#: A box that comes so near to the image's edge may show part of a cell, which is small by right.
EDGE_PX = 2.0

#: Said of an image that would otherwise pass for one without cells.
NONE_USABLE = "none of its boxes can be used"

WORDS: dict[Reason, str] = {
    "one-pixel": "thinner than two pixels",
    "outside": "outside the image",
    "double": "doubled",
    "size": "of a size never seen before",
}


@dataclass(frozen=True)
class ImageLabels:
    """The boxes of one image as they were drawn.

    Parameters
    ----------
    name
        What the user calls the image.
    width, height
        In pixels.
    meant
        Boxes that somebody said are meant as they are: these may be thin, doubled and of any size.
    unusable
        How many more were drawn, which cannot be used.
    """

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    meant: frozenset[Box] = frozenset()
    unusable: int = 0

    @property
    def none_usable(self) -> bool:
        """See :func:`none_usable`."""
        return none_usable(self.boxes, self.unusable)


def none_usable(boxes: Sequence[Box], unusable: int) -> bool:
    """Tell whether nothing of what was drawn can be used: that is no image without cells."""
    return unusable > 0 and not boxes


@dataclass(frozen=True)
class SetAside:
    """A box that nothing is to learn from, and why.

    Parameters
    ----------
    image, place
        Which of the images, and which of its boxes, counted from 0.
    why
        For a person: goes on from "looks wrong: it".
    """

    image: int
    place: int
    name: str
    box: Box
    reason: Reason
    why: str

    @property
    def words(self) -> str:
        """The whole of it as one sentence."""
        where = ", ".join(f"{edge:.5g}" for edge in self.box.xyxy_px)
        return f"{self.name}: box of {self.box.label} at ({where}) looks wrong: it {self.why}"


def guard(images: Sequence[ImageLabels]) -> tuple[SetAside, ...]:
    """Return the boxes to set aside, in order of image and box.

    Of boxes of one class on the same cell the first drawn stays. A size is judged within its class
    by the square root of the area, and only a box that is all of these is set aside: far out of
    what is usual, ``FAR`` times smaller or larger than the median, and alone. So a second giant
    cell brings the first one back, and classes of few boxes are left alone.
    """
    found = [
        _set_aside(images, image, place, reason, why)
        for image, labels in enumerate(images)
        for place, (reason, why) in (_thin(labels) | _doubles(labels)).items()
    ]
    gone = {(one.image, one.place) for one in found}
    found += [
        _set_aside(images, image, place, "size", why)
        for (image, place), why in _sizes(images, gone).items()
    ]
    return tuple(sorted(found, key=lambda one: (one.image, one.place)))


def without(
    images: Sequence[ImageLabels], aside: Sequence[SetAside]
) -> list[tuple[Box, ...] | None]:
    """Return each image's boxes less those that were set aside; None where all of them were.

    That is no image without cells, and nothing is to learn from it.
    """
    gone = {(one.image, one.place) for one in aside}
    left = [
        tuple(box for place, box in enumerate(labels.boxes) if (image, place) not in gone)
        for image, labels in enumerate(images)
    ]
    return [
        boxes if boxes or not labels.boxes else None
        for labels, boxes in zip(images, left, strict=True)
    ]


def summary(aside: Sequence[SetAside]) -> str:
    """Return how many boxes look wrong and how, such as "2 boxes look wrong (2 doubled)"."""
    counts = Counter(one.reason for one in aside)
    kinds = (f"{counts[reason]} {words}" for reason, words in WORDS.items() if counts[reason])
    verb = "looks" if len(aside) == 1 else "look"
    return f"{counted(len(aside), 'box')} {verb} wrong ({', '.join(kinds)})"


def _set_aside(
    images: Sequence[ImageLabels], image: int, place: int, reason: Reason, why: str
) -> SetAside:
    labels = images[image]
    return SetAside(image, place, labels.name, labels.boxes[place], reason, why)


Found = dict[int, tuple[Reason, str]]


def _thin(labels: ImageLabels) -> Found:
    """Return what has no size, or none inside the image, unless it is meant and has some."""
    found: Found = {}
    for place, box in enumerate(labels.boxes):
        width = min(box.xmax, labels.width) - max(box.xmin, 0.0)
        height = min(box.ymax, labels.height) - max(box.ymin, 0.0)
        if box in labels.meant and min(width, height) > 0:
            continue
        if min(box.width, box.height) < THINNEST_PX:
            found[place] = "one-pixel", f"is {box.width:.3g} × {box.height:.3g} px: a click?"
        elif min(width, height) < THINNEST_PX:
            size = f"{labels.width} × {labels.height} px"
            found[place] = "outside", f"lies outside the image of {size}"
    return found


def _doubles(labels: ImageLabels) -> Found:
    """Return what lies on an earlier box of its class that stays."""
    found: Found = {}
    edges = edges_of(labels.boxes)
    classes = np.array([box.label for box in labels.boxes])
    places, firsts, overlaps = overlapping(edges, edges, SAME_CELL_IOU)
    alike = (firsts < places) & (classes[firsts] == classes[places]) & (overlaps > SAME_CELL_IOU)
    for place, first, overlap in zip(
        *(each[alike].tolist() for each in (places, firsts, overlaps)), strict=True
    ):
        if not {place, first} & found.keys() and labels.boxes[place] not in labels.meant:
            label = labels.boxes[place].label
            why = f"lies on another box of {label} (IoU {overlap:.2f}): one cell boxed twice?"
            found[place] = "double", why
    return found


def _sizes(images: Sequence[ImageLabels], gone: set[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Return the boxes of a size that none other of their class has."""
    by_class = defaultdict(list)
    for image, labels in enumerate(images):
        for place, box in enumerate(labels.boxes):
            if (image, place) not in gone:
                by_class[box.label].append((image, place))
    found = {}
    for places in by_class.values():
        boxes = [images[image].boxes[place] for image, place in places]
        sizes = sides_of(edges_of(boxes).astype(np.float64))
        usual = float(np.median(sizes))
        for k in np.flatnonzero(_never_seen(sizes)).tolist():
            image, place = places[k]
            if not _excused(images[image], boxes[k], smaller=sizes[k] < usual):
                found[image, place] = _size_words(boxes[k].label, float(sizes[k]), usual)
    return found


def _never_seen(sizes: Float64) -> Boolean:
    """Return which of the sizes of a class, shape (N,), are far out, far off and alone."""
    if len(sizes) < FEWEST_BOXES:
        return np.zeros(len(sizes), np.bool_)
    octaves = np.log2(sizes)
    low, middle, high = np.quantile(octaves, (0.25, 0.5, 0.75))
    fence = FENCE * (high - low)
    far_out = (octaves < low - fence) | (octaves > high + fence)
    far_off = np.abs(octaves - middle) >= np.log2(FAR)
    order = np.argsort(octaves)
    gaps = np.diff(octaves[order], prepend=-np.inf, append=np.inf)
    nearest = np.empty_like(octaves)
    nearest[order] = np.minimum(gaps[:-1], gaps[1:])
    return np.asarray(far_out & far_off & (nearest > np.log2(ALONE)), np.bool_)


def _excused(labels: ImageLabels, box: Box, smaller: bool) -> bool:
    """Tell whether a box may have its size: it is meant, or is small since the image cuts it."""
    margins = (box.xmin, box.ymin, labels.width - box.xmax, labels.height - box.ymax)
    return box in labels.meant or (smaller and min(margins) <= EDGE_PX)


def _size_words(label: str, size: float, usual: float) -> str:
    times, than = (usual / size, "smaller") if size < usual else (size / usual, "larger")
    return (
        f"is {size:.0f} px across, {times:.1f} times {than} than the usual {label} "
        f"({usual:.0f} px), and no other comes near"
    )
