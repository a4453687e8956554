"""Checks boxes that were drawn elsewhere against their image: the usable ones, and notes."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from model.boxes import Box
from model.labels.label_guard import NONE_USABLE, none_usable
from model.wording import Naming

EDGES = ("xmin", "ymin", "xmax", "ymax")
#: A box is left out if less than this share of it lies inside its image: it is more likely a wrong
#: number, or a box of another image, than a cell at the border. A hand that draws past the border
#: misses by less.
LEAST_INSIDE = 0.5
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
#: How many boxes of one annotation with one fate a note names.
BOXES_NAMED = 3

#: What became of boxes, in the words that follow their names: for one box, and for several.
Fate = tuple[str, str]


@dataclass(frozen=True)
class Notation:
    """How annotations name classes and count pixels.

    Parameters
    ----------
    mapping
        New names for their classes, such as ``{"N": "Nucleus"}``.
    one_based
        They count pixels from 1, inclusive.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    one_based: bool = False

    def renamed(self, boxes: Iterable[Box]) -> tuple[Box, ...]:
        """Return the boxes with the new names of their classes."""
        return tuple(replace(box, label=self.mapping.get(box.label, box.label)) for box in boxes)


#: The default: classes keep their names, and pixels count from 0.
AS_OURS = Notation()


@dataclass(frozen=True)
class Truth:
    """What an annotation says of its image.

    Parameters
    ----------
    name
        The image's file name in the annotation; empty if there is none.
    width, height
        Pixels; 0 if neither the annotation nor an image gives them.
    boxes
        The usable boxes, inside the image.
    notes
        What was clipped, left out or odd, a sentence each, ready to show.
    unusable
        The number of further boxes, which cannot be used.
    other_size
        That the annotation is of an image of another size, and what to do; empty if it is not.
        Without a box it then does not say that this image has no cells.
    """

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    notes: tuple[str, ...] = ()
    unusable: int = 0
    other_size: str = ""

    @property
    def why_left_out(self) -> str:
        """Why its image is left out: it would pass for one without cells; else empty."""
        return self.other_size or (NONE_USABLE if none_usable(self.boxes, self.unusable) else "")


@dataclass(frozen=True)
class FoundBox:
    """One box as it was found; a missing or unreadable value is empty or None.

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
    def box(self) -> Box | None:
        """The box with its edges as found; None if something is missing."""
        if not self.label or len(self.edges) != len(EDGES) or None in self.edges:
            return None
        xmin, ymin, xmax, ymax = (float(edge or 0.0) for edge in self.edges)
        return Box(xmin, ymin, xmax, ymax, self.label)

    @property
    def what(self) -> str:
        """What messages call the box, with its edges, so that a person finds it in its file."""
        what = f"{self.place} ({self.label or 'without a class'})"
        return f"{what} {_where(self.box)}" if self.box else what


def number_in(text: str | None) -> float | None:
    """Return a text as a finite number; None if it is none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def with_point(text: str) -> str:
    """Replace a number's decimal comma by a point; any other text is returned as it is."""
    return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text


def held_against(
    drawn: Sequence[FoundBox],
    told: tuple[int, int] | None,
    size: tuple[int, int] | None,
    one_based: bool,
) -> Truth:
    """Return what an annotation's boxes say of its image; boxes with one fate share a note.

    Boxes drawn on an image of another size miss the cells of this one: none can be used.

    Parameters
    ----------
    told, size
        Width and height in the annotation, and of the image; None if unknown.
    one_based
        The edges are 1-based and inclusive; otherwise 0-based and half-open.
    """
    if size and told and told != size:
        other = (
            f"its annotation says {told[0]}×{told[1]} px, but the image has {size[0]}×{size[1]}: "
            "give the image that it is of, or take the size out if it fits"
        )
        return Truth("", *size, (), unusable=len(drawn), other_size=other)
    known = size or told or (0, 0)
    held = [(each, *_usable(each, known, one_based)) for each in drawn]
    boxes = tuple(box for _, box, _ in held if box)
    fates = defaultdict[Fate, list[str]](list)
    for each, _, fate in held:
        if fate:
            fates[fate].append(each.what)
    unheld = () if size or told else ("no image size given, so the boxes were not held against it",)
    notes = (*unheld, *(_alike(fate, names) for fate, names in fates.items()))
    return Truth("", *known, boxes, notes, len(drawn) - len(boxes))


def of_annotation(title: str, notes: Iterable[str]) -> tuple[str, ...]:
    """Return the notes, each naming its annotation."""
    return tuple(
        Naming(f"{title}: {note}", f"{title}: {note.brief}")
        if isinstance(note, Naming)
        else f"{title}: {note}"
        for note in notes
    )


def _alike(fate: Fate, names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} {fate[0]}"
    return Naming.of(names, after=f" {fate[1]}", most=BOXES_NAMED)


def _left_out(why: str) -> Fate:
    return f"left out: it {why}", f"left out: each {why}"


def _usable(
    drawn: FoundBox, size: tuple[int, int], one_based: bool
) -> tuple[Box | None, Fate | None]:
    """Return the usable part of a box, or None, and its fate for the notes."""
    if (box := drawn.box) is None:
        return None, _left_out("needs a class and four numbers")
    if box.width < 0 or box.height < 0:
        return None, _left_out("has its corners swapped")
    if _has_no_size(box, one_based):
        return None, _left_out("has no size")
    if one_based:
        box = replace(box, xmin=box.xmin - 1, ymin=box.ymin - 1)
    return _inside(box, *size)


def _has_no_size(box: Box, one_based: bool) -> bool:
    # Inclusive equal edges are one pixel wide: enough for one of the sides, not for both.
    sides = sorted((box.width, box.height))
    return sides[1 if one_based else 0] == 0


def _inside(box: Box, width: int, height: int) -> tuple[Box | None, Fate | None]:
    """Return the part of a box inside the image, or None if it is too little, and its fate."""
    if not (width and height):
        return box, None
    image = f"the {width}×{height} px image"
    kept = Box(
        min(max(box.xmin, 0.0), width),
        min(max(box.ymin, 0.0), height),
        max(min(box.xmax, width), 0.0),
        max(min(box.ymax, height), 0.0),
        box.label,
    )
    if kept.width <= 0 or kept.height <= 0:
        return None, _left_out(f"lies outside {image}")
    if kept.width * kept.height < LEAST_INSIDE * box.width * box.height:
        return None, _left_out(f"lies outside {image} by more than half")
    clipped = f"clipped to {image}"
    return kept, (clipped, clipped) if kept != box else None


def _where(box: Box) -> str:
    return "(" + ", ".join(f"{edge:g}" for edge in box.xyxy_px) + ")"


def whole_edges(box: Box, width: int, height: int, one_based: bool) -> tuple[int, int, int, int]:
    """Return the edges, as in ``EDGES``, in whole pixels inside the image, at least a pixel apart.

    Each edge is rounded by itself, so that none moves by more than half a pixel.
    """
    xmin, xmax = _whole(box.xmin, box.xmax, width)
    ymin, ymax = _whole(box.ymin, box.ymax, height)
    shift = 1 if one_based else 0
    return xmin + shift, ymin + shift, xmax, ymax


def _whole(low: float, high: float, limit: int) -> tuple[int, int]:
    """Return both edges rounded, at least a pixel apart and inside ``[0, limit]``."""
    first = min(max(math.floor(low + 0.5), 0), limit - 1)
    return first, min(max(math.floor(high + 0.5), first + 1), limit)
