"""Pascal VOC files, one for each image: lenient to read, correct to write."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import parse  # type: ignore[import-untyped]

from backend.datasets.drawn import (
    EDGES,
    FoundBox,
    Truth,
    held_against,
    number_in,
    of_annotation,
    whole_edges,
    with_point,
)
from backend.datasets.writing import write_whole
from backend.errors import BadRequest
from model.boxes import Box

#: What a VOC file may contain beside its boxes.
BESIDE = {"folder", "filename", "path", "source", "owner", "size", "segmented"}
_THOUSANDS = re.compile(r",\d{3}$")


@dataclass(frozen=True)
class VocSource:
    """A VOC file, which annotates an image of its stem (see ``pairing.TruthSource``)."""

    path: Path

    @property
    def title(self) -> str:
        return self.path.name

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def named(self) -> str:
        return read_voc(self.path).name

    def read(self, size: tuple[int, int] | None = None, one_based: bool = False) -> Truth:
        return read_voc(self.path, size, one_based)


def read_voc(path: Path, size: tuple[int, int] | None = None, one_based: bool = False) -> Truth:
    """Read a VOC file.

    Parameters
    ----------
    path
        The XML file.
    size
        Width and height of the image in pixels; None without an image. If the XML has another size,
        none of its boxes can be used.
    one_based
        The coordinates are 1-based and inclusive, as in the VOC challenge itself; otherwise they
        are taken as 0-based and half-open.

    Raises
    ------
    BadRequest
        The file cannot be read, or is not XML, or is no VOC annotation.
    """
    root = _annotation(path)
    drawn = _drawn(root)
    truth = held_against(drawn, _told_size(root), size, one_based)
    unread, odd = (0, []) if drawn else _boxes_unread(root)
    return replace(
        truth,
        name=(root.findtext("filename") or "").strip(),
        notes=of_annotation(path.name, [*truth.notes, *odd]),
        unusable=truth.unusable + unread,
    )


def _annotation(path: Path) -> ET.Element:
    """Return the root element; refuse entities and the like, which no VOC file needs."""
    try:
        root: ET.Element = parse(path).getroot()
    except DefusedXmlException as error:
        raise BadRequest(
            f"{path} declares entities, which no VOC file needs and which may do harm: take its "
            "<!DOCTYPE …> out, or move it away to leave it out."
        ) from error
    except (ET.ParseError, ValueError, LookupError) as error:
        raise BadRequest(
            f"{path} is no readable XML ({error}): mend it, or move it away to leave it out."
        ) from error
    except OSError as error:
        raise BadRequest(
            f"{path} cannot be read ({error.strerror}): check its rights, or move it away to leave "
            "it out."
        ) from error
    if root.tag != "annotation":
        raise BadRequest(
            f"{path} is no Pascal VOC file (it begins with <{root.tag}>, not <annotation>): "
            "move it away, or give the folder that holds the VOC files."
        )
    return root


def _told_size(root: ET.Element) -> tuple[int, int] | None:
    said = [int(number_in(root.findtext(f"size/{side}")) or 0) for side in ("width", "height")]
    return (said[0], said[1]) if min(said) > 0 else None


def _drawn(root: ET.Element) -> list[FoundBox]:
    return [
        FoundBox(
            f"box {number}",
            (element.findtext("name") or "").strip(),
            tuple(_edge(element.findtext(f"bndbox/{edge}", "")) for edge in EDGES),
        )
        for number, element in enumerate(root.iter("object"), start=1)
    ]


def _edge(text: str) -> float | None:
    """Return an edge's number; a comma before exactly three digits may mean thousands."""
    text = text.strip()
    return number_in(text if _THOUSANDS.search(text) else with_point(text))


def _boxes_unread(root: ET.Element) -> tuple[int, list[str]]:
    """For a file without a box, return how many elements hold edges of one, and what is odd."""
    unknown = [element for element in root if element.tag not in BESIDE]
    tags = ", ".join(f"<{tag}>" for tag in dict.fromkeys(each.tag for each in unknown))
    told = f"has no <object> but {tags}: a box is read from an <object> alone, mend it"
    unread = sum(element.find(".//bndbox") is not None for element in unknown)
    return unread, [told] if unknown else []


def write_voc(
    target: Path,
    name: str,
    width: int,
    height: int,
    depth: int,
    boxes: Iterable[Box],
    one_based: bool = False,
) -> None:
    """Write the VOC file of :func:`voc_bytes`, whole or not at all."""
    write_whole(target, voc_bytes(name, width, height, depth, boxes, one_based))


def voc_bytes(
    name: str, width: int, height: int, depth: int, boxes: Iterable[Box], one_based: bool = False
) -> bytes:
    """Return the bytes of a VOC file, edges rounded to whole pixels.

    Each edge is rounded by itself, so that none moves by more than half a pixel. A box thinner than
    a pixel becomes one pixel wide.

    Parameters
    ----------
    name, width, height, depth
        The image's file name, size in pixels and number of channels.
    one_based
        Write 1-based inclusive coordinates for tools that want them.
    """
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
    xmin, ymin, xmax, ymax = whole_edges(box, width, height, one_based=False)
    touches = xmin == 0 or ymin == 0 or xmax == width or ymax == height
    element = ET.SubElement(root, "object")
    for tag, value in (
        ("name", box.label),
        ("pose", "Unspecified"),
        ("truncated", int(touches)),
        ("difficult", 0),
    ):
        _add(element, tag, value)
    bounds = ET.SubElement(element, "bndbox")
    for tag, value in zip(EDGES, whole_edges(box, width, height, one_based), strict=True):
        _add(bounds, tag, value)


def _add(parent: ET.Element, tag: str, value: object) -> None:
    ET.SubElement(parent, tag).text = str(value)
