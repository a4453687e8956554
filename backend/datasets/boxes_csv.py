"""Boxes in one CSV file, one line each: the formats of the thesis' ``xml_to_csv`` and keras-frcnn.

``xml_to_csv`` writes a header first: filename, width, height, class, xmin, ymin, xmax, ymax. Here
the columns may be in any order, and width and height may be missing. Semicolons or tabs may
separate the values, numbers may have decimal commas, and Excel's line ``sep=;`` may come first.
keras-frcnn reads lines without a header: path, x1, y1, x2, y2, class. A line with only a file name
says that the image has no cell, as in keras-retinanet; neither of the two formats can say that.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

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
from backend.datasets.writing import as_csv
from backend.errors import BadRequest
from model.boxes import Box
from model.wording import first_of

CSV_SUFFIX = ".csv"
COLUMNS = ("filename", "width", "height", "class", *EDGES)
NEEDED = ("filename", "class", *EDGES)
DIVIDERS = ",;\t"
UNNAMED = {len(COLUMNS): COLUMNS, len(NEEDED): ("filename", *EDGES, "class")}

#: The first line of a CSV for Excel, which names the separator.
_SAYS_DIVIDER = re.compile(f"sep=([{DIVIDERS}])", re.IGNORECASE)

#: The values of one line by column.
Row = dict[str, str]


@dataclass(frozen=True)
class CsvSource:
    """The lines of a CSV file for one image (see ``pairing.TruthSource``).

    Parameters
    ----------
    file
        Name of the CSV file.
    image
        The image's name in the file, perhaps with a path.
    rows
        Each line's number and values.
    """

    file: str
    image: str
    rows: tuple[tuple[int, Row], ...]

    @property
    def title(self) -> str:
        return f"{self.file} ({self.image})"

    @property
    def stem(self) -> str:
        return PurePosixPath(self.named).stem

    @property
    def named(self) -> str:
        # The path may be of Windows or Unix; only its last part says which image is meant.
        return PureWindowsPath(PurePosixPath(self.image).name).name

    def read(self, size: tuple[int, int] | None = None, one_based: bool = False) -> Truth:
        drawn = [_drawn(line, row) for line, row in self.rows if not _says_empty(row)]
        told, odd = self._told_size()
        truth = held_against(drawn, told, size, one_based)
        notes = of_annotation(self.title, [*odd, *truth.notes])
        return replace(truth, name=self.named, notes=notes)

    def _told_size(self) -> tuple[tuple[int, int] | None, list[str]]:
        told = list(dict.fromkeys(size for _, row in self.rows if (size := _size(row))))
        sizes = ", ".join(f"{width}×{height}" for width, height in told)
        several = f"gives several sizes, {sizes} px: the first is taken"
        return next(iter(told), None), [several] if len(told) > 1 else []


def read_csv(path: Path) -> tuple[list[CsvSource], list[str]]:
    """Read a CSV file of boxes; an image's lines need not follow one another.

    Parameters
    ----------
    path
        UTF-8.

    Returns
    -------
    The lines of each image, in order of name, and a sentence on each line that cannot be used, with
    its number.

    Raises
    ------
    BadRequest
        The file is missing, is not UTF-8 or has the columns of neither format, a quote is not
        closed, or no line can be used.
    """
    lines = _lines(path)
    names, first = _columns(path, lines)
    of_image, notes = defaultdict[str, list[tuple[int, Row]]](list), list[str]()
    for number, values in lines[first:]:
        if len(values) != len(names):
            notes.append(
                f"{path.name}: line {number} left out: it has {len(values)} values, not "
                f"{len(names)} ({', '.join(names)})"
            )
        elif not (row := dict(zip(names, values, strict=True)))["filename"]:
            notes.append(f"{path.name}: line {number} left out: it names no image")
        else:
            of_image[row["filename"]].append((number, row))
    if not of_image:
        raise BadRequest(f"{path} has no line with a box{_reasons(notes)}")
    images = [CsvSource(path.name, image, tuple(of_image[image])) for image in sorted(of_image)]
    return images, notes


def write_csv(images: Iterable[tuple[str, int, int, Sequence[Box]]], one_based: bool) -> bytes:
    """Return boxes as ``xml_to_csv`` writes them, edges rounded to whole pixels.

    Parameters
    ----------
    images
        For each its file name, width and height in pixels, and boxes. An image without boxes gets
        no line: tools that read the format know no such line.
    one_based
        Write 1-based inclusive coordinates.
    """
    rows = (
        (name, width, height, box.label, *whole_edges(box, width, height, one_based))
        for name, width, height, boxes in images
        for box in boxes
    )
    return as_csv([COLUMNS, *rows])


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the number and the values of each line that is not empty."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise BadRequest(f"{path} is not there; give a CSV file that is.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BadRequest(f"{path} is no UTF-8 (line {line}): save it as UTF-8 text.") from error
    first, _, behind = text.partition("\n")
    said = _SAYS_DIVIDER.fullmatch(first.strip(" "))
    divider = said[1] if said else max(DIVIDERS, key=first.count)
    reader = csv.reader(
        # An empty line takes its place, so that lines keep their numbers.
        io.StringIO("\n" + behind if said else text),
        delimiter=divider,
    )
    read = list[tuple[int, list[str]]]()
    try:
        for values in reader:
            _require_one_line(path, read[-1][0] + 1 if read else 1, values)
            stripped = [value.strip() for value in values]
            if divider != ",":
                stripped = [with_point(value) for value in stripped]
            read.append((reader.line_num, stripped))
    except csv.Error as error:
        raise BadRequest(f"{path}, line {reader.line_num}: {error}; mend it.") from error
    return [(number, values) for number, values in read if any(values)]


def _require_one_line(path: Path, number: int, values: Sequence[str]) -> None:
    """Refuse a value of several lines: an unclosed quote swallows the lines behind it."""
    if any("\n" in value for value in values):
        raise BadRequest(
            f'{path}, line {number}: a quote (") opens and does not close on that line; mend it.'
        )


def _columns(path: Path, lines: Sequence[tuple[int, list[str]]]) -> tuple[tuple[str, ...], int]:
    """Return the names of the columns, and the number of header lines."""
    values = lines[0][1] if lines else []
    named = tuple(value.lower() for value in values)
    if set(NEEDED) <= set(named):
        return named, 1
    unnamed = UNNAMED.get(len(values))
    if unnamed and _is_row(dict(zip(unnamed, values, strict=True))):
        return unnamed, 0
    raise BadRequest(
        f"{path} is no CSV of boxes: its first line must name {','.join(COLUMNS)} (width and "
        "height may be missing), or every line must be path,x1,y1,x2,y2,class without names."
    )


def _is_row(row: Row) -> bool:
    return _says_empty(row) or any(number_in(row[edge]) is not None for edge in EDGES)


def _says_empty(row: Row) -> bool:
    return not any(row[name] for name in NEEDED if name != "filename")


def _drawn(line: int, row: Row) -> FoundBox:
    edges = tuple(number_in(row[edge]) for edge in EDGES)
    return FoundBox(f"line {line}", row["class"], edges)


def _size(row: Row) -> tuple[int, int] | None:
    width, height = (int(number_in(row.get(side, "")) or 0) for side in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


def _reasons(notes: Sequence[str]) -> str:
    return "\n  ".join([":", *first_of(notes)]) if notes else "."
