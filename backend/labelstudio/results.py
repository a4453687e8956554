"""Converts between Label Studio's regions in percent and our boxes in pixels: only here."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from backend.labelstudio.interface import LabellingInterface
from model.boxes import Box
from model.labels.label_guard import ImageLabels
from model.wording import LIMIT_REACHED, counted

Region = dict[str, Any]
Point = tuple[float, float]

#: Edges lie on a grid of 2⁻²⁰ px (a millionth of a pixel). Converting to percent and back moves an
#: edge by float rounding, far less than half a step, so served edges return exactly.
STEPS_PER_PX = 2**20


def to_regions(
    boxes: Sequence[Box], width: int, height: int, interface: LabellingInterface
) -> list[Region]:
    """Write boxes as Label Studio stores them.

    Parameters
    ----------
    boxes
        In pixels of the image, inside it.
    width, height
        Size of the image in pixels.

    Returns
    -------
    One region for each box, in order. Ids come from place and class, so the same boxes have the
    same ids in every answer; a box that occurs twice gets two ids.
    """
    ids = _region_ids(boxes)
    return [
        _region(box, name, width, height, interface) for box, name in zip(boxes, ids, strict=True)
    ]


def to_boxes(
    regions: Sequence[Mapping[str, Any]], width: int, height: int
) -> tuple[list[Box], list[str]]:
    """Read the boxes of an annotation or a prediction.

    A rotated or non-rectangular region gives its envelope; boxes are clipped to the image.

    Parameters
    ----------
    regions
        As Label Studio sends them. Their own ``original_width`` and ``original_height`` are
        ignored: they can be wrong after an EXIF rotation (Label Studio issues 6608, 5923).
    width, height
        Size of the kept image in pixels.

    Returns
    -------
    The boxes, in order, and a note on each one changed or left out.
    """
    boxes: list[Box] = []
    notes: list[str] = []
    for region in regions:
        try:
            box, said = _box(region, width, height)
            boxes.append(box)
            notes += said
        except _LeftOut as reason:
            notes.append(f"region {region.get('id', '?')} left out: {reason}")
    return boxes, list(dict.fromkeys(notes))


@dataclass(frozen=True)
class DrawnBox:
    """A box, with what its region says of its origin.

    Parameters
    ----------
    id
        The region's id; it stays the same however the box is changed.
    origin
        ``prediction`` (untouched), ``prediction-changed`` or ``manual``; empty for regions that
        were not made or touched in the page.
    """

    id: str
    box: Box
    origin: str = ""


def to_drawn_boxes(regions: Sequence[Mapping[str, Any]], width: int, height: int) -> list[DrawnBox]:
    """Read the boxes as :func:`to_boxes` does, each with its region's id and origin."""
    drawn = []
    for region in regions:
        with suppress(_LeftOut):
            box, _ = _box(region, width, height)
            drawn.append(DrawnBox(str(region.get("id")), box, str(region.get("origin") or "")))
    return drawn


def of_cells(
    regions: Sequence[Mapping[str, Any]], interface: LabellingInterface
) -> list[Mapping[str, Any]]:
    """Return the regions that may be cells of the counted image.

    A rating, a choice or a relation is none, nor is anything drawn on another image of the task.
    What a second control says of a box comes as a region with the same id.
    """
    drawn = [r for r in regions if _is_of_kind(r, _MARKED) and not _is_elsewhere(r, interface)]
    own = {str(r["id"]) for r in drawn if r.get("id") and _is_of(r, interface)}
    return [r for r in drawn if _is_of(r, interface) or str(r.get("id")) not in own]


def _is_of_kind(region: Mapping[str, Any], kinds: Container[str]) -> bool:
    """Tell whether a region has one of these types; an unknown type counts as one of them."""
    kind = region.get("type")
    return kind in kinds if isinstance(kind, str) else kind is not None


def _is_of(region: Mapping[str, Any], interface: LabellingInterface) -> bool:
    return bool(region.get("from_name", interface.from_name) == interface.from_name)


def _is_elsewhere(region: Mapping[str, Any], interface: LabellingInterface) -> bool:
    # A name that the config does not have is an earlier name of the image.
    return region.get("to_name") in interface.other_images


def to_labels(
    name: str,
    regions: Sequence[Mapping[str, Any]],
    width: int,
    height: int,
    interface: LabellingInterface,
) -> tuple[ImageLabels, list[str]]:
    """Read the boxes of an image's cells for the label guard, with the notes of :func:`to_boxes`.

    A box is intended as drawn if the annotator wrote a note on its region ("Meta" in the region's
    panel of Label Studio); what Cytoloop itself writes there does not count.
    """
    cells = of_cells(regions, interface)
    boxes, notes = to_boxes(cells, width, height)
    meant = frozenset(to_boxes([r for r in cells if _is_noted(r)], width, height)[0])
    # Points beside boxes say something about cells; without boxes they are the cells.
    kinds = _DRAWN if boxes else _MARKED
    unusable = sum(_is_of_kind(region, kinds) for region in cells) - len(boxes)
    elsewhere = sum(_is_of_kind(r, _DRAWN) and _is_elsewhere(r, interface) for r in regions)
    if elsewhere:
        notes.append(f"{counted(elsewhere, 'box')} on another image of the task left out")
    return ImageLabels(name, width, height, tuple(boxes), meant, unusable), notes


@dataclass(frozen=True)
class Unusable:
    """Something that was drawn for a cell and gives no box.

    Parameters
    ----------
    label
        Empty if it has none.
    xyxy_px
        Its edges in pixels of the image, perhaps outside it; None if it has no outline.
    why
        For a person: continues "left out: ".
    """

    label: str
    xyxy_px: tuple[float, float, float, float] | None
    why: str


def unusable_in(
    regions: Sequence[Mapping[str, Any]], width: int, height: int, interface: LabellingInterface
) -> list[Unusable]:
    """Return what :func:`to_labels` counts as unusable."""
    gone = list[tuple[Mapping[str, Any], str]]()
    for region in (cells := of_cells(regions, interface)):
        try:
            _box(region, width, height)
        except _LeftOut as reason:
            gone.append((region, str(reason)))
    kinds = _MARKED if len(gone) == len(cells) else _DRAWN
    return [
        Unusable(_label_of(region), _envelope(region, width, height), why)
        for region, why in gone
        if _is_of_kind(region, kinds)
    ]


def count_labels(regions: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Count the labels of the regions that may give a box; a rating or a number has none."""
    labels: Counter[str] = Counter()
    for region in regions:
        kind, value = str(region.get("type")), region.get("value")
        if kind in _OUTLINES and isinstance(value, Mapping):
            with suppress(_LeftOut):
                labels[_label(value, kind, "")[0]] += 1
    return labels


def _is_noted(region: Mapping[str, Any]) -> bool:
    meta = region.get("meta")
    text = meta.get("text") if isinstance(meta, Mapping) else None
    told = text if isinstance(text, list) else [text or ""]
    lines = "\n".join(each for each in told if isinstance(each, str)).splitlines()
    return any(line.strip() and not line.startswith(LIMIT_REACHED) for line in lines)


class _LeftOut(ValueError):
    """Why a region gives no box."""


def _region_ids(boxes: Sequence[Box]) -> list[str]:
    seen: Counter[str] = Counter()
    ids = []
    for box in boxes:
        key = f"{[_on_grid(edge) for edge in box.xyxy_px]} {box.label}"
        ids.append(hashlib.sha256(f"{key} {seen[key]}".encode()).hexdigest()[:10])
        seen[key] += 1
    return ids


def _region(box: Box, name: str, width: int, height: int, interface: LabellingInterface) -> Region:
    xmin, ymin, xmax, ymax = (_on_grid(edge) for edge in box.xyxy_px)
    region: Region = {
        "id": name,
        "type": "rectanglelabels",
        "from_name": interface.from_name,
        "to_name": interface.to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "x": 100 * xmin / width,
            "y": 100 * ymin / height,
            "width": 100 * (xmax - xmin) / width,
            "height": 100 * (ymax - ymin) / height,
            "rotation": 0,
            "rectanglelabels": [box.label],
        },
    }
    return region if box.score is None else {**region, "score": round(box.score, 6)}


def _box(region: Mapping[str, Any], width: int, height: int) -> tuple[Box, list[str]]:
    kind, value, name = region.get("type"), region.get("value"), region.get("id", "?")
    outline = _OUTLINES.get(str(kind))
    if outline is None or not isinstance(value, Mapping):
        raise _LeftOut(f"a {kind} has no outline that Cytoloop can read")
    if region.get("image_rotation"):
        raise _LeftOut("the image was turned in the page; turn it back and submit again")
    label, notes = _label(value, str(kind), name)
    points = _points(outline, value, width, height)
    turn = f" rotated by {value['rotation']}°" if value.get("rotation") else ""
    if turn or kind != "rectanglelabels":
        notes.append(f"region {name} is a {kind}{turn}: its envelope was taken")
    notes += _size_notes(region, width, height)
    edges, clipped = _clip(points, width, height)
    if clipped:
        notes.append(f"region {name} reached outside the image and was clipped")
    score = region.get("score")
    return Box(*edges, label=label, score=score if isinstance(score, float | int) else None), notes


def _label_of(region: Mapping[str, Any]) -> str:
    with suppress(_LeftOut, KeyError, AttributeError):
        return _label(region["value"], str(region.get("type")), "")[0]
    return ""


def _envelope(
    region: Mapping[str, Any], width: int, height: int
) -> tuple[float, float, float, float] | None:
    """Return the edges of a region, perhaps outside the image; None if it has no outline."""
    outline, value = _OUTLINES.get(str(region.get("type"))), region.get("value")
    if outline is None or not isinstance(value, Mapping):
        return None
    with suppress(_LeftOut):
        xs, ys = zip(*_points(outline, value, width, height), strict=True)
        return min(xs), min(ys), max(xs), max(ys)
    return None


def _label(value: Mapping[str, Any], kind: str, name: str) -> tuple[str, list[str]]:
    labels = value.get(kind) or value.get("labels")
    if not isinstance(labels, list) or not labels:
        raise _LeftOut("it has no label")
    if len(labels) == 1:
        return str(labels[0]), []
    return str(labels[0]), [f"region {name} has {len(labels)} labels: the first was taken"]


def _points(
    outline: Callable[[Mapping[str, Any], float, float], list[Point]],
    value: Mapping[str, Any],
    width: int,
    height: int,
) -> list[Point]:
    try:
        points = outline(value, width / 100, height / 100)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _LeftOut(f"its value is incomplete ({error!r})") from error
    if not points or not all(math.isfinite(v * STEPS_PER_PX) for point in points for v in point):
        raise _LeftOut("its value has no finite outline")
    return points


def _size_notes(region: Mapping[str, Any], width: int, height: int) -> list[str]:
    said = (region.get("original_width", width), region.get("original_height", height))
    if said == (width, height):
        return []
    return [f"Label Studio says the image has {said[0]}×{said[1]} px; {width}×{height} was used"]


def _clip(
    points: Sequence[Point], width: int, height: int
) -> tuple[tuple[float, float, float, float], bool]:
    """Return the points' envelope inside the image, and whether anything was cut off."""
    xs, ys = zip(*points, strict=True)
    # Rounding keeps the order, so only the ends are brought onto the grid.
    left, right, top, bottom = map(_on_grid, (min(xs), max(xs), min(ys), max(ys)))
    xmin, xmax = min(max(left, 0.0), float(width)), min(max(right, 0.0), float(width))
    ymin, ymax = min(max(top, 0.0), float(height)), min(max(bottom, 0.0), float(height))
    if xmax <= xmin or ymax <= ymin:
        if right <= left or bottom <= top:
            raise _LeftOut("it has no area")
        where = ", ".join(f"{edge:.5g}" for edge in (left, top, right, bottom))
        raise _LeftOut(f"it lies outside the image, at ({where})")
    return (xmin, ymin, xmax, ymax), (xmin, ymin, xmax, ymax) != (left, top, right, bottom)


def _rectangle(value: Mapping[str, Any], x_px: float, y_px: float) -> list[Point]:
    """Return enough corners; Label Studio turns clockwise around the top left one, in pixels."""
    left, top = float(value["x"]) * x_px, float(value["y"]) * y_px
    right = (float(value["x"]) + float(value["width"])) * x_px
    bottom = (float(value["y"]) + float(value["height"])) * y_px
    if not (rotation := float(value.get("rotation") or 0)):
        return [(left, top), (right, bottom)]  # the envelope of all four
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return _turn(corners, (left, top), rotation)


def _ellipse(value: Mapping[str, Any], x_px: float, y_px: float) -> list[Point]:
    """Return the corners of the envelope of an ellipse turned around its centre."""
    x, y = float(value["x"]) * x_px, float(value["y"]) * y_px
    a, b = float(value["radiusX"]) * x_px, float(value["radiusY"]) * y_px
    angle = math.radians(float(value.get("rotation") or 0))
    half_width = math.hypot(a * math.cos(angle), b * math.sin(angle))
    half_height = math.hypot(a * math.sin(angle), b * math.cos(angle))
    return [(x - half_width, y - half_height), (x + half_width, y + half_height)]


def _polygon(value: Mapping[str, Any], x_px: float, y_px: float) -> list[Point]:
    return [(float(x) * x_px, float(y) * y_px) for x, y in value["points"]]


def _turn(points: Sequence[Point], about: Point, degrees: float) -> list[Point]:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x0, y0 = about
    return [
        (x0 + (x - x0) * cos - (y - y0) * sin, y0 + (x - x0) * sin + (y - y0) * cos)
        for x, y in points
    ]


def _on_grid(px: float) -> float:
    return round(px * STEPS_PER_PX) / STEPS_PER_PX


# A brush stroke is a run-length code of the whole image: it is reported and left out.
_OUTLINES: dict[str, Callable[[Mapping[str, Any], float, float], list[Point]]] = {
    "rectanglelabels": _rectangle,
    "ellipselabels": _ellipse,
    "polygonlabels": _polygon,
}
#: The types of regions drawn for a cell, with or without a label or an outline; a rating or a point
#: is none.
_DRAWN = {
    *_OUTLINES,
    *("brushlabels", "bitmasklabels", "vectorlabels"),
    *("rectangle", "ellipse", "polygon", "brush", "bitmask", "vector"),
}
#: Those and points, which have no size: whoever marked cells with points is told so.
_MARKED = {*_DRAWN, "keypointlabels", "keypoint"}
