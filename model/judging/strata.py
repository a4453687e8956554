"""Parts of the images: their figures, and strata of contrast that depend on no version."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from model.judging.counting import count_report
from model.judging.pairing import Pairs
from model.judging.precision import average_precision
from model.reports import Stratum

#: Fewest images, of all or of a part, on which a figure can be better or worse beyond noise, and
#: has an interval.
FEWEST_IMAGES = 10
#: The strata of contrast, from the faintest on.
STRATA = ("low", "medium", "high")
#: Fewest true cells of an image for each class; fixed, so that sets and versions compare.
DENSITIES = {"under 20 cells": 0, "20 to 60 cells": 20, "over 60 cells": 61}


@dataclass(frozen=True)
class ContrastStrata:
    """Classes of contrast by which versions are judged, set once for a project.

    Contrast groups would not do: each version has its own.

    Parameters
    ----------
    limits
        Two contrasts (``QuantileProfile.contrast``), never falling, from which the next stratum
        begins.
    """

    limits: tuple[float, ...]

    @classmethod
    def of(cls, contrasts: Sequence[float]) -> ContrastStrata:
        """Set the limits so that each stratum has a third of the images given."""
        return cls(tuple(np.quantile(contrasts, [1 / 3, 2 / 3]).tolist()))

    def name(self, contrast: float) -> str:
        """Return an image's stratum by its contrast: low, medium or high."""
        return STRATA[bisect_right(self.limits, contrast)]


def density_of(cells: int) -> str:
    """Return the density class of an image with so many true cells."""
    return [name for name, fewest in DENSITIES.items() if cells >= fewest][-1]


def by_stratum(
    names: Sequence[str],
    paired: Sequence[Pairs],
    predicted: Sequence[int],
    order: Iterable[str] = (),
) -> dict[str, Stratum]:
    """Return the figures of each part of the images.

    A part of fewer than ``FEWEST_IMAGES`` images says how many it has and nothing else.

    Parameters
    ----------
    names
        The part each image belongs to.
    paired
        The boxes of any class with the true ones at each of ``model.judging.precision.IOUS``.
    predicted
        How many boxes of each image count.
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
            average_precision([pairs.among(rows) for pairs in paired]),
            count_report([predicted[i] for i in rows], paired[0].cells[rows].tolist()),
        )
        for name, rows in parts.items()
    }
