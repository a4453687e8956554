"""Planted faults in what was submitted: those let stand, and those not made good."""

from __future__ import annotations

from collections.abc import Sequence

from backend.effort.comparison import covered, paired
from backend.labelstudio.results import DrawnBox, to_drawn_boxes
from backend.store.predictions import Watch


def let_stand(submitted: Sequence[DrawnBox], watch: Watch, size: tuple[int, int]) -> list[DrawnBox]:
    """Return the submitted boxes that are planted ones, still on the place they were shown at.

    Nudged or relabelled, such a box was taken for a cell all the same.

    Parameters
    ----------
    size
        Width and height of the image in pixels.
    """
    planted = to_drawn_boxes(watch.planted, *size)
    pairs = paired(planted, submitted)
    return [after for before, after in pairs if covered([after], [before])[0]]


def not_drawn(submitted: Sequence[DrawnBox], watch: Watch, size: tuple[int, int]) -> list[DrawnBox]:
    """Return the withheld boxes that tell, on which no submitted box lies.

    Parameters
    ----------
    size
        Width and height of the image in pixels.
    """
    withheld = to_drawn_boxes(watch.withheld[: watch.telling], *size)
    there = covered(withheld, submitted)
    return [box for box, drawn in zip(withheld, there, strict=True) if not drawn]
