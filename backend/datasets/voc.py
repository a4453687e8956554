"""Pascal VOC files, one for each image, read as they come and written as they should be."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from defusedxml.ElementTree import parse  # type: ignore[import-untyped]

from backend.datasets.writing import write_whole
from backend.errors import BadRequest
from model.boxes import Box, iou_matrix
from model.examples import LabelledImage

EDGES = ("xmin", "ymin", "xmax", "ymax")
SAME_CELL_IOU = 0.8


@dataclass(frozen=True)
class VocFile:
    """What a VOC file says of its image.

    Parameters
    ----------
    name
        The image's file name as the XML gives it; empty when it gives none.
    width, height
        Pixels; 0 when neither the XML nor the image was there to tell.
    boxes
        The usable boxes, inside the image.
    notes
        What was clipped, set aside or odd, a sentence each, ready to be shown.
    """

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    notes: tuple[str, ...] = ()


def read_voc(path: Path, size: tuple[int, int] | None = None, one_based: bool = False) -> VocFile:
    """Read a VOC file.

    Parameters
    ----------
    path
        The XML file.
    size
        Width and height of the image in pixels, which count more than what the XML says; None
        when there is no image.
    one_based
        The coordinates are 1-based and inclusive, as in the VOC challenge itself; otherwise they
        are taken as they are, 0-based and half-open.

    Raises
    ------
    BadRequest
        The file is no XML, or no VOC annotation.
    """
    root = _annotation(path)
    notes: list[str] = []
    width, height = _size(root, size, notes)
    boxes = _boxes(root, width, height, one_based, notes)
    notes += _doubles(boxes)
    name = (root.findtext("filename") or "").strip()
    labelled = tuple(f"{path.name}: {note}" for note in notes)
    return VocFile(name, width, height, tuple(boxes), labelled)


def _annotation(path: Path) -> ET.Element:
    """Return the root element; entities and the like, which no VOC file needs, are refused."""
    try:
        root: ET.Element = parse(path).getroot()
    except (ET.ParseError, ValueError, LookupError) as error:
        raise BadRequest(
            f"{path} is no readable XML ({error}): mend it, or move it away to leave it out."
        ) from error
    if root.tag != "annotation":
        raise BadRequest(
            f"{path} is no Pascal VOC file (it begins with <{root.tag}>, not <annotation>): "
            "move it away, or give the folder that holds the VOC files."
        )
    return root


def _size(root: ET.Element, size: tuple[int, int] | None, notes: list[str]) -> tuple[int, int]:
    said = _number(root, "size/width"), _number(root, "size/height")
    known = all(value is not None and value > 0 for value in said)
    told = (int(said[0] or 0), int(said[1] or 0)) if known else None
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


def _boxes(
    root: ET.Element, width: int, height: int, one_based: bool, notes: list[str]
) -> list[Box]:
    boxes = []
    for number, element in enumerate(root.iter("object"), start=1):
        label = (element.findtext("name") or "").strip()
        edges = [_number(element, f"bndbox/{edge}") for edge in EDGES]
        what = f"box {number} ({label or 'without a class'})"
        if not label or any(edge is None for edge in edges):
            notes.append(f"{what} set aside: it needs a name and four numbers in <bndbox>")
            continue
        xmin, ymin, xmax, ymax = (float(edge or 0.0) for edge in edges)
        drawn = Box(xmin, ymin, xmax, ymax, label)
        if _has_no_size(drawn, one_based):
            notes.append(f"{what} {_where(drawn)} set aside: it has no size")
            continue
        if one_based:
            drawn = replace(drawn, xmin=drawn.xmin - 1, ymin=drawn.ymin - 1)
        if (kept := _inside(drawn, what, width, height, notes)) is not None:
            boxes.append(kept)
    return boxes


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
            f"{what} {_where(box)} set aside: it lies outside the {width}×{height} px image"
        )
        return None
    if kept != box:
        notes.append(f"{what} {_where(box)} clipped to the {width}×{height} px image")
    return kept


def _where(box: Box) -> str:
    return "(" + ", ".join(f"{edge:g}" for edge in box.xyxy_px) + ")"


def _doubles(boxes: Sequence[Box]) -> list[str]:
    """Return a note for each pair of boxes that seem to be round the same cell; both are kept."""
    edges = LabelledImage(Path(), "", tuple(boxes)).xyxy_px
    overlaps = iou_matrix(edges, edges)
    return [
        f"two boxes of {boxes[i].label} lie on one another at "
        f"({boxes[i].xmin:g}, {boxes[i].ymin:g}): one cell boxed twice? both kept"
        for i in range(len(boxes))
        for j in range(i)
        if overlaps[i, j] > SAME_CELL_IOU and boxes[i].label == boxes[j].label
    ]


def _number(element: ET.Element, path: str) -> float | None:
    try:
        value = float(element.findtext(path) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def write_voc(
    target: Path | BinaryIO,
    name: str,
    width: int,
    height: int,
    depth: int,
    boxes: Iterable[Box],
    one_based: bool = False,
) -> None:
    """Write a VOC file, edges rounded to whole pixels.

    Each edge is rounded by itself, so that none moves by more than half a pixel; a box thinner
    than a pixel is given one.

    Parameters
    ----------
    target
        A path, whose file is written whole or not at all, or an open binary file.
    name, width, height, depth
        Of the image: its file name, its pixels, its number of channels.
    one_based
        Write 1-based inclusive coordinates for tools that want them.
    """
    content = voc_bytes(name, width, height, depth, boxes, one_based)
    if isinstance(target, Path):
        write_whole(target, content)
    else:
        target.write(content)


def voc_bytes(
    name: str, width: int, height: int, depth: int, boxes: Iterable[Box], one_based: bool = False
) -> bytes:
    """Return what :func:`write_voc` writes."""
    root = ET.Element("annotation")
    _add(root, "filename", name)
    _add(ET.SubElement(root, "source"), "database", "Cytoloop")
    size = ET.SubElement(root, "size")
    for tag, value in (("width", width), ("height", height), ("depth", depth)):
        _add(size, tag, value)
    _add(root, "segmented", 0)
    for box in boxes:
        _add_object(root, box, width, height, one_based)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _add_object(root: ET.Element, box: Box, width: int, height: int, one_based: bool) -> None:
    xmin, xmax = _whole(box.xmin, box.xmax, width)
    ymin, ymax = _whole(box.ymin, box.ymax, height)
    touches = xmin == 0 or ymin == 0 or xmax == width or ymax == height
    element = ET.SubElement(root, "object")
    for tag, value in (
        ("name", box.label),
        ("pose", "Unspecified"),
        ("truncated", int(touches)),
        ("difficult", 0),
    ):
        _add(element, tag, value)
    shift = 1 if one_based else 0
    bounds = ET.SubElement(element, "bndbox")
    for tag, value in zip(EDGES, (xmin + shift, ymin + shift, xmax, ymax), strict=True):
        _add(bounds, tag, value)


def _whole(low: float, high: float, limit: int) -> tuple[int, int]:
    """Return both edges rounded, at least a pixel apart and inside ``[0, limit]``."""
    first = min(max(math.floor(low + 0.5), 0), limit - 1)
    return first, min(max(math.floor(high + 0.5), first + 1), limit)


def _add(parent: ET.Element, tag: str, value: object) -> None:
    ET.SubElement(parent, tag).text = str(value)
