"""Compares one image's served boxes with the submitted ones: what was done to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.actions import Actions
from backend.labelstudio.results import DrawnBox
from model.boxes import edges_of, iou_matrix, iou_of_pairs
from preprocessing.arrays import Boolean, Float32

#: Edges nearer than this are the same: the page's rounding or a jogged mouse is no correction.
SAME_PX = 0.5
#: A box lies on another from this overlap on.
COVERED_IOU = 0.5

Pair = tuple[DrawnBox, DrawnBox]


@dataclass(frozen=True)
class Edit:
    """What one submit did to the served boxes.

    Parameters
    ----------
    cells
        Submitted boxes.
    overlaps
        IoU of each moved box with the served one, in [0, 1].
    doubts
        The number of boxes whose ``origin`` in Label Studio contradicts the comparison: the boxes
        compared with may not be those that were on the screen.
    """

    actions: Actions
    cells: int
    overlaps: tuple[float, ...]
    doubts: int


def compare(served: Sequence[DrawnBox], submitted: Sequence[DrawnBox]) -> Edit:
    """Tell what became of each served box."""
    pairs = paired(served, submitted)
    moved = [pair for pair in pairs if not same_place(*pair)]
    relabelled = [pair for pair in pairs if pair[0].box.label != pair[1].box.label]
    changed = {id(pair) for pair in moved} | {id(pair) for pair in relabelled}
    actions = Actions(
        kept=len(pairs) - len(changed),
        moved=len(moved),
        relabelled=len(relabelled),
        deleted=len(served) - len(pairs),
        added=len(submitted) - len(pairs),
    )
    known = {id(after) for _, after in pairs}
    doubts = [after for before, after in pairs if _contradicts(before, after)]
    doubts += [box for box in submitted if id(box) not in known and is_from_prediction(box.origin)]
    return Edit(actions, len(submitted), _overlaps(moved), len(doubts))


def same_place(first: DrawnBox, second: DrawnBox) -> bool:
    """Tell whether no edge is farther than ``SAME_PX`` from its counterpart."""
    a, b = first.box, second.box  # edge by edge, since it is called for each pair of boxes
    return (
        abs(a.xmin - b.xmin) <= SAME_PX
        and abs(a.ymin - b.ymin) <= SAME_PX
        and abs(a.xmax - b.xmax) <= SAME_PX
        and abs(a.ymax - b.ymax) <= SAME_PX
    )


def is_from_prediction(origin: object) -> bool:
    """Tell whether Label Studio's ``origin`` says that a box began in a prediction."""
    return str(origin).startswith("prediction")


def edges_px(boxes: Sequence[DrawnBox]) -> Float32:
    """Return the edges as an array, shape (N, 4)."""
    return edges_of(each.box for each in boxes)


def paired(served: Sequence[DrawnBox], submitted: Sequence[DrawnBox]) -> list[Pair]:
    """Return each served box that is still there, with what it has become.

    A region keeps its id however it is changed, so boxes are paired by id first. The others, such
    as those of tools that make their own ids, are paired if they are at the same place.
    """
    waiting = {box.id: box for box in served}
    pairs = [(waiting.pop(box.id), box) for box in submitted if box.id in waiting]
    known = {id(after) for _, after in pairs}
    left = list(waiting.values())
    for box in submitted:
        if id(box) not in known and (near := next((s for s in left if same_place(s, box)), None)):
            left.remove(near)
            pairs.append((near, box))
    return pairs


def _contradicts(served: DrawnBox, submitted: DrawnBox) -> bool:
    if submitted.origin == "prediction":
        return not same_place(served, submitted) or served.box.label != submitted.box.label
    return submitted.origin == "manual"


def _overlaps(pairs: Sequence[Pair]) -> tuple[float, ...]:
    before, after = (edges_px([pair[side] for pair in pairs]) for side in (0, 1))
    return tuple(iou_of_pairs(before, after).tolist())


def covered(boxes: Sequence[DrawnBox], by: Sequence[DrawnBox]) -> Boolean:
    """Tell for each box whether one of the others lies on it, shape (N,)."""
    if not boxes or not by:
        return np.zeros(len(boxes), np.bool_)
    return np.asarray(iou_matrix(edges_px(boxes), edges_px(by)).max(axis=1) >= COVERED_IOU)
