"""Planted faults in what was submitted: those let stand, and those not made good."""

from __future__ import annotations

from collections.abc import Sequence

from backend.effort.comparison import covered, same_place
from backend.labelstudio.results import DrawnBox, to_drawn_boxes
from backend.store.predictions import Watch


def let_stand(submitted: Sequence[DrawnBox], watch: Watch, size: tuple[int, int]) -> list[DrawnBox]:
    """Return the submitted boxes that are planted ones, left as they were shown.

    Parameters
    ----------
    size
        Width and height of the image in pixels.
    """
    planted = to_drawn_boxes(watch.planted, *size)
    return [box for box in submitted if any(_untouched(box, fault) for fault in planted)]


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


def _untouched(box: DrawnBox, planted: DrawnBox) -> bool:
    return same_place(box, planted) and box.box.label == planted.box.label
