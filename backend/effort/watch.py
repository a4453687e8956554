"""Opens some images without boxes or with a planted fault, to see how well boxes are checked.

People tend to see what the boxes show: they overlook a missing box and let a false one stand
(automation bias). A small share of tasks measures this; only the store knows which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import Region, to_regions
from backend.store.predictions import Watch, WatchKind
from model.boxes import Box, edges_of, iou_matrix
from preprocessing.arrays import Float32

#: An image with fewer boxes is not watched: a missing one would be too easy to see.
FEWEST_BOXES = 3
#: From this probability on a box is almost certainly a cell. So it is telling whether somebody
#: draws a withheld one, and it may be put back.
SURE = 0.9
#: How many places are tried for a planted box; a crowded image has no room.
TRIES = 200


@dataclass(frozen=True)
class Shown:
    """What a task is shown, and what only the store knows of it."""

    regions: list[Region]
    watch: Watch | None = None


def watched_as(project: int, task: int, share: float) -> WatchKind | None:
    """Return whether and how a task is watched: decided by its number, so the same each time.

    Parameters
    ----------
    share
        Share of tasks that are watched, in [0, 1]; half of them open blank, half with a fault.
    """
    drawn = int.from_bytes(_digest(project, task)[:8], "big") / 2**64
    if drawn >= share:
        return None
    return "blank" if drawn < share / 2 else "fault"


def show(
    boxes: Sequence[Box],
    possible: Float32,
    size: tuple[int, int],
    interface: LabellingInterface,
    kind: WatchKind | None,
    name: tuple[int, int],
) -> Shown:
    """Return what a task is shown; a watched task gets fewer or more boxes than were found.

    An image with few boxes, or without a sure one, is shown as found: it would not be telling.

    Parameters
    ----------
    boxes
        As they would be served, best first.
    possible
        Shape (N, 4), everything that may be a cell; a planted box touches none of it.
    size
        Width and height of the image in pixels.
    name
        Project and task.
    """
    sure = surest(boxes)
    if kind is None or len(boxes) < FEWEST_BOXES or not sure:
        return Shown(to_regions(boxes, *size, interface))
    if kind == "blank":
        return show_blank(boxes, size, interface)
    rng = np.random.default_rng(list(_digest(*name)))
    gone = sure[int(rng.integers(len(sure)))]
    false = _false_box(rng, gone, boxes, possible, size)
    served = [box for box in boxes if box is not gone] + ([false] if false else [])
    served.sort(key=lambda box: -(box.score or 0.0))
    regions = to_regions(served, *size, interface)
    planted = tuple(r for r, box in zip(regions, served, strict=True) if box is false)
    withheld = tuple(to_regions([gone], *size, interface))
    return Shown(regions, Watch(kind, withheld, len(withheld), planted))


def show_blank(boxes: Sequence[Box], size: tuple[int, int], interface: LabellingInterface) -> Shown:
    """Withhold every box: the task opens without any."""
    found = to_regions(boxes, *size, interface)
    return Shown([], Watch("blank", tuple(found), len(surest(boxes)), ()))


def surest(boxes: Sequence[Box]) -> Sequence[Box]:
    """Return the boxes that are almost certainly cells."""
    return [box for box in boxes if (box.score or 0.0) >= SURE]


def _false_box(
    rng: np.random.Generator,
    like: Box,
    boxes: Sequence[Box],
    possible: Float32,
    size: tuple[int, int],
) -> Box | None:
    """Return a box where nothing is, as large as ``like``, with a score like other boxes'."""
    taken = np.vstack([possible, edges_of(boxes)])
    room = max(size[0] - like.width, 0.0), max(size[1] - like.height, 0.0)
    corners = rng.uniform((0, 0), room, (TRIES, 2))
    opposite = corners + np.array([like.width, like.height])
    places = np.hstack([corners, opposite]).astype(np.float32)
    free = np.flatnonzero(~(iou_matrix(places, taken) > 0).any(axis=1))
    if not len(free):
        return None
    xmin, ymin, xmax, ymax = places[free[0]].tolist()
    score = median(box.score or 0.0 for box in boxes)
    edges = (xmin, ymin, min(xmax, size[0]), min(ymax, size[1]))
    return replace(Box(*edges, label=like.label), score=score)


def _digest(project: int, task: int) -> bytes:
    return hashlib.sha256(f"watched {project} {task}".encode()).digest()
