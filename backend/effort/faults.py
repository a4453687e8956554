"""Finds planted faults in submitted boxes: those let stand, and those not made good."""

from __future__ import annotations

from collections.abc import Sequence

from backend.effort.comparison import covered, paired
from backend.labelstudio.results import DrawnBox, to_drawn_boxes
from backend.store.predictions import Watch
from model.boxes import Box


def let_stand(submitted: Sequence[DrawnBox], watch: Watch, size: tuple[int, int]) -> list[DrawnBox]:
    """Return the submitted boxes that are planted ones, still in the place where they were shown.

    A nudged or relabelled one was still taken for a cell.

    Parameters
    ----------
    size
        Width and height of the image in pixels.
    """
    planted = to_drawn_boxes(watch.planted, *size)
    pairs = paired(planted, submitted)
    return [after for before, after in pairs if covered([after], [before])[0]]


def not_drawn(submitted: Sequence[DrawnBox], watch: Watch, size: tuple[int, int]) -> list[DrawnBox]:
    """Return the telling withheld boxes on which no submitted box lies.

    Parameters
    ----------
    size
        Width and height of the image in pixels.
    """
    withheld = to_drawn_boxes(watch.withheld[: watch.telling], *size)
    there = covered(withheld, submitted)
    return [box for box, drawn in zip(withheld, there, strict=True) if not drawn]


def not_made_good(
    submitted: Sequence[DrawnBox], shown: Sequence[DrawnBox], watch: Watch, size: tuple[int, int]
) -> list[DrawnBox]:
    """Return the withheld boxes whose cell has no box, not even a loosely drawn one.

    A loose box and the withheld one contain each other's centre. It must have been drawn or moved
    there: a box that was shown there is a neighbour's.

    Parameters
    ----------
    size
        Width and height of the image in pixels.
    """
    before = {id(after): served for served, after in paired(shown, submitted)}
    return [
        box
        for box in not_drawn(submitted, watch, size)
        if not any(_came_to(box, each, before.get(id(each))) for each in submitted)
    ]


def _came_to(cell: DrawnBox, drawn: DrawnBox, before: DrawnBox | None) -> bool:
    was_there = before is not None and _share_centres(cell.box, before.box)
    return not was_there and _share_centres(cell.box, drawn.box)


def _share_centres(first: Box, second: Box) -> bool:
    return all(
        box.xmin <= x < box.xmax and box.ymin <= y < box.ymax
        for box, (x, y) in ((first, second.centre), (second, first.centre))
    )
