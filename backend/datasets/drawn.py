"""Boxes as somebody drew them elsewhere, held against their image: the usable ones, and notes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from model.boxes import Box
from model.label_guard import none_usable

EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Truth:
    """What an annotation says of its image.

    Parameters
    ----------
    name
        The image's file name as the annotation gives it; empty when it gives none.
    width, height
        Pixels; 0 when neither the annotation nor the image was there to tell.
    boxes
        The usable boxes, inside the image.
    notes
        What was clipped, left out or odd, a sentence each, ready to be shown.
    unusable
        How many more boxes were drawn, which cannot be used.
    """

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    notes: tuple[str, ...] = ()
    unusable: int = 0

    @property
    def is_lost(self) -> bool:
        """See :func:`model.label_guard.none_usable`."""
        return none_usable(self.boxes, self.unusable)


@dataclass(frozen=True)
class FoundBox:
    """One box as it was found; what is missing or no number is empty or None.

    Parameters
    ----------
    place
        Where it was found, such as ``box 3`` or ``line 12``.
    edges
        As in ``EDGES``.
    """

    place: str
    label: str
    edges: tuple[float | None, ...]

    @property
    def what(self) -> str:
        return f"{self.place} ({self.label or 'without a class'})"


def number_in(text: str | None) -> float | None:
    """Return the finite number that a text is, None when it is none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def image_size(
    told: tuple[int, int] | None, size: tuple[int, int] | None, notes: list[str]
) -> tuple[int, int]:
    """Return width and height: those of the image, else what the annotation told, else zeros."""
    if size is None:
        if told is None:
            notes.append("no image size given, so the boxes were not held against it")
        return told or (0, 0)
    if told is not None and told != size:
        notes.append(
            f"says {told[0]}×{told[1]} px, but the image has {size[0]}×{size[1]}: the boxes were "
            "taken as pixels of the image; look whether they fit"
        )
    return size


def usable(
    drawn: Iterable[FoundBox], size: tuple[int, int], one_based: bool, notes: list[str]
) -> tuple[Box, ...]:
    """Return the boxes that can be used, inside the image; a note on each that was changed or not.

    Parameters
    ----------
    size
        Width and height of the image; zeros when unknown, and no box is clipped.
    one_based
        The edges are 1-based and inclusive; otherwise 0-based and half-open.
    """
    return tuple(kept for each in drawn if (kept := _usable(each, size, one_based, notes)))


def _usable(
    drawn: FoundBox, size: tuple[int, int], one_based: bool, notes: list[str]
) -> Box | None:
    if not drawn.label or len(drawn.edges) != len(EDGES) or None in drawn.edges:
        notes.append(f"{drawn.what} left out: it needs a class and four numbers")
        return None
    xmin, ymin, xmax, ymax = (float(edge or 0.0) for edge in drawn.edges)
    box = Box(xmin, ymin, xmax, ymax, drawn.label)
    if _has_no_size(box, one_based):
        notes.append(f"{drawn.what} {_where(box)} left out: it has no size")
        return None
    if one_based:
        box = replace(box, xmin=box.xmin - 1, ymin=box.ymin - 1)
    return _inside(box, drawn.what, *size, notes)


def _has_no_size(box: Box, one_based: bool) -> bool:
    # Counted inclusively, equal edges are one pixel: wide enough for a line, not for both.
    sides = sorted((box.width, box.height))
    return sides[0] < 0 or sides[1 if one_based else 0] == 0


def _inside(box: Box, what: str, width: int, height: int, notes: list[str]) -> Box | None:
    """Return the part of the box inside the image; None and a note when there is none."""
    if not (width and height):
        return box
    kept = Box(
        min(max(box.xmin, 0.0), width),
        min(max(box.ymin, 0.0), height),
        max(min(box.xmax, width), 0.0),
        max(min(box.ymax, height), 0.0),
        box.label,
    )
    if kept.width <= 0 or kept.height <= 0:
        notes.append(
            f"{what} {_where(box)} left out: it lies outside the {width}×{height} px image"
        )
        return None
    if kept != box:
        notes.append(f"{what} {_where(box)} clipped to the {width}×{height} px image")
    return kept


def _where(box: Box) -> str:
    return "(" + ", ".join(f"{edge:g}" for edge in box.xyxy_px) + ")"


def whole_edges(box: Box, width: int, height: int, one_based: bool) -> tuple[int, int, int, int]:
    """Return the edges in whole pixels, as in ``EDGES``, a pixel apart at least, inside the image.

    Each is rounded by itself, so that none moves by more than half a pixel.
    """
    xmin, xmax = _whole(box.xmin, box.xmax, width)
    ymin, ymax = _whole(box.ymin, box.ymax, height)
    shift = 1 if one_based else 0
    return xmin + shift, ymin + shift, xmax, ymax


def _whole(low: float, high: float, limit: int) -> tuple[int, int]:
    """Return both edges rounded, at least a pixel apart and inside ``[0, limit]``."""
    first = min(max(math.floor(low + 0.5), 0), limit - 1)
    return first, min(max(math.floor(high + 0.5), first + 1), limit)
