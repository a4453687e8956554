"""Counts of cells as a table, with a row for each image and class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from backend.datasets.writing import as_csv
from model.boxes import Box
from model.judging.ranges import range_of
from model.reports import Counts

COLUMNS = (
    "image",
    "class",
    "source",
    "count",
    "low",
    "high",
    "density_per_1000_px",
    "model_version",
    "annotator",
    "flags",
)
DENSITY_PX = 1000
Source = Literal["corrected", "predicted", "none"]


@dataclass(frozen=True)
class CountedImage:
    """One image and the boxes that count in it.

    Parameters
    ----------
    name
        The user's name for it.
    width, height
        Pixels; 0 for an image that cannot be looked at.
    source
        Whether a person corrected the boxes, a model predicted them, or no count is known: nobody
        has looked yet, the image cannot be looked at, or nothing that was drawn can be used.
    model_version
        The version that predicted the boxes, or whose boxes were corrected; empty if unknown.
    flags
        What to know before trusting the count, such as a cap that was reached.
    judged
        By class, predicted and true counts of images that judged the version. They give the range
        for the true count of an image that nobody corrected.
    """

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    source: Source
    model_version: str = ""
    annotator: str = ""
    flags: tuple[str, ...] = ()
    judged: Mapping[str, Counts] = field(default_factory=dict)


def counts_csv(images: Iterable[CountedImage], classes: Sequence[str]) -> bytes:
    """Return the table, with a row for each class of each image; 0 if it has none.

    The density is the number of cells per 10³ px of image area (Tare 2020). An image of which
    nothing is known has an empty count, not 0. Nine of ten true counts lie between low and high
    (``model.judging.ranges``); both are empty unless enough images judged the version.

    Parameters
    ----------
    classes
        Each image gets a row for each of these; classes found only in the image follow.
    """
    return table_of(row for image in images for row in rows_of(image, classes))


def table_of(rows: Iterable[Sequence[object]]) -> bytes:
    """Return the table of these rows."""
    return as_csv([COLUMNS, *rows])


def rows_of(image: CountedImage, classes: Sequence[str]) -> list[tuple[object, ...]]:
    """Return an image's rows in the table of :func:`counts_csv`."""
    counts = Counter(box.label for box in image.boxes)
    labels = dict.fromkeys([*classes, *sorted(counts)])
    return [
        (
            image.name,
            label,
            image.source,
            *_figures(label, counts[label], image),
            image.model_version,
            image.annotator,
            _joined(image.flags),
        )
        for label in labels
    ]


def flagged(row: tuple[object, ...], flags: Sequence[str]) -> tuple[object, ...]:
    """Return a row of :func:`rows_of` with these flags instead of its own."""
    return (*row[:-1], _joined(flags))


def _joined(flags: Sequence[str]) -> str:
    return "; ".join(flags)


def _figures(label: str, count: int, image: CountedImage) -> tuple[object, ...]:
    if image.source == "none":
        return "", "", "", ""
    found = image.source == "predicted" and range_of(count, image.judged.get(label, ()))
    low, high = (found.low, found.high) if found else ("", "")
    return count, low, high, f"{count / (image.width * image.height) * DENSITY_PX:.6g}"
