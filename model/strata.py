"""Figures over parts of the images: by contrast group, and by how densely cells lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from model.boxes import Detections, Float32
from model.counting import count_report
from model.precision import average_precision
from model.reports import Stratum

FEWEST_IMAGES = 10
#: Fewest true cells of an image for each class; fixed, so that sets and versions compare.
DENSITIES = {"under 20 cells": 0, "20 to 60 cells": 20, "over 60 cells": 61}


def density_of(cells: int) -> str:
    """Return the density class of an image with so many true cells."""
    return [name for name, fewest in DENSITIES.items() if cells >= fewest][-1]


def by_stratum(
    names: Sequence[str],
    found: Sequence[Detections],
    truth: Sequence[Float32],
    predicted: Sequence[int],
    order: Iterable[str] = (),
) -> dict[str, Stratum]:
    """Return the figures of each part of the images.

    A part of fewer than ``FEWEST_IMAGES`` images says how many it has and nothing else.

    Parameters
    ----------
    names
        The part each image belongs to.
    found, truth, predicted
        Of each image the boxes of any class, the true boxes, and how many boxes count.
    order
        The parts that come first, in this order; the others as they turn up.
    """
    parts = {
        name: [i for i, n in enumerate(names) if n == name]
        for name in dict.fromkeys([*order, *names])
        if name in names
    }
    return {
        name: Stratum(len(rows))
        if len(rows) < FEWEST_IMAGES
        else Stratum(
            len(rows),
            average_precision([found[i] for i in rows], [truth[i] for i in rows]),
            count_report([predicted[i] for i in rows], [len(truth[i]) for i in rows]),
        )
        for name, rows in parts.items()
    }
