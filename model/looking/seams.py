"""What overlapping tiles found, put together so that a cell on a seam counts once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.boxes import Detections, FromLeft, iou_of_pairs, joined
from preprocessing.arrays import Boolean, Float32, Float64, Int64

#: Part of its own side by which a detector may miss an edge or a centre of a box.
JITTER = 1 / 8
#: IoU, within what both tiles show, from which on two boxes are one cell.
SAME = 0.5


@dataclass(frozen=True)
class Tile:
    """A window of an image, half-open, in its pixels.

    Parameters
    ----------
    core
        Left, right, top, bottom of the part that is the tile's own. It ends in the middle of what
        is shared with a neighbour; at the image's border it is infinite.
    """

    left: int
    top: int
    right: int
    bottom: int
    core: tuple[float, ...] = (-np.inf, np.inf, -np.inf, np.inf)

    @property
    def xyxy_px(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.right, self.bottom

    @property
    def cuts(self) -> Float64:
        """The edges (xyxy, shape (4,)) beyond which the image goes on; infinite where it ends."""
        low_x, high_x, low_y, high_y = np.isfinite(self.core)
        inner = np.array([low_x, low_y, high_x, high_y])
        return np.where(inner, self.xyxy_px, [-np.inf, -np.inf, np.inf, np.inf])


@dataclass(frozen=True, eq=False)
class _Seen:
    """What tiles found where they overlap, in one table; N rows in order of preference.

    Parameters
    ----------
    found
        Boxes of a tile's own core first, then the others; each part by score.
    tile
        Shape (N,), index of the tile.
    windows
        Shape (N, 4), edges of that tile.
    cut
        Shape (N,), whether the box ends at the tile's edge and the cell perhaps goes on.
    """

    found: Detections
    tile: Int64
    windows: Float32
    cut: Boolean

    @cached_property
    def from_left(self) -> FromLeft:
        return FromLeft(self.found.xyxy_px)


def merge(tiles: Sequence[Tile], found: Sequence[Detections]) -> Detections:
    """Return what the tiles found as one result.

    A box belongs to the tile whose core holds its centre: a cell no larger than what tiles share
    lies whole in that tile. What two tiles claim nevertheless, since a detector is not exact,
    counts once. A cell larger than what is shared may be cut in every tile; its parts, each ending
    at its tile's edge, agree in what both tiles show and become one box.

    Parameters
    ----------
    found
        For each tile, in pixels of the whole image; of the same classes.
    """
    alone, seen = _parted(tiles, found)
    edges = seen.found.xyxy_px.copy()
    left, first = np.ones(len(edges), bool), np.zeros(len(edges), bool)
    for row in range(len(edges)):
        if left[row]:
            left[row], first[row] = False, True
            edges[row], same = _grow(row, seen, left, len(tiles))
            left[same] = False
    return joined([alone, seen.found.moved_to(edges).where(first)])[0]


def _parted(tiles: Sequence[Tile], found: Sequence[Detections]) -> tuple[Detections, _Seen]:
    """Return the boxes that only one tile shows, and those that others show at least in part."""
    every, index = joined(found)
    within = _from_core(every.xyxy_px, np.array([tile.core for tile in tiles])[index])
    order = np.argsort(within > 0, kind="stable")
    order = order[within[order] <= JITTER]
    every, index = every.where(order), index[order]
    edges = every.xyxy_px
    windows = np.array([tile.xyxy_px for tile in tiles], np.float32)
    cut = _ends_at(edges, np.array([tile.cuts for tile in tiles])[index])
    shared = np.sum([_touch(window, edges) for window in windows], axis=0) > 1
    of_several = _Seen(every.where(shared), index[shared], windows[index[shared]], cut[shared])
    return every.where(~shared), of_several


def _from_core(edges: Float32, cores: Float64) -> Float64:
    """Return how far each centre lies outside its tile's core, in sides of the box; 0: inside."""
    sides = np.maximum(edges[:, 2:] - edges[:, :2], 1e-6).astype(np.float64)
    centres = (edges[:, :2].astype(np.float64) + edges[:, 2:]) / 2
    out = np.maximum(cores[:, 0::2] - centres, centres - cores[:, 1::2]) / sides
    return np.asarray(out.max(axis=1, initial=0.0))


def _ends_at(edges: Float32, cuts: Float64) -> Boolean:
    sides = np.tile(edges[:, 2:] - edges[:, :2], 2)
    return np.asarray((np.abs(edges - cuts) <= JITTER * sides).any(axis=1))


def _grow(row: int, seen: _Seen, left: Boolean, tiles: int) -> tuple[Float32, list[int]]:
    """Return the box of the cell that begins with a row, and the other rows that belong to it.

    Parameters
    ----------
    left
        Shape (N,): which rows belong to no cell yet.
    tiles
        How many there are.
    """
    box, window = seen.found.xyxy_px[row], seen.windows[row]
    other = np.arange(tiles) != seen.tile[row]
    taken: list[int] = []
    while True:
        near = seen.from_left.near(box[0], box[2])
        near = near[left[near] & other[seen.tile[near]]]
        near = near[_touch(box, seen.found.xyxy_px[near])]
        same = near[_agree(box, window, seen.found.xyxy_px[near], seen.windows[near]) >= SAME]
        taken += same.tolist()
        if not len(same) or not seen.cut[row]:
            return box, taken
        other[seen.tile[same]] = False
        box = _around(box, seen.found.xyxy_px[same])
        window = _around(window, seen.windows[same])


def _touch(box: Float32, boxes: Float32) -> Boolean:
    low_x, low_y, high_x, high_y = boxes.T
    in_x = (low_x < box[2]) & (high_x > box[0])
    return np.asarray(in_x & (low_y < box[3]) & (high_y > box[1]))


def _agree(box: Float32, window: Float32, boxes: Float32, windows: Float32) -> Float64:
    """Return the overlap of a box with others, shape (N,), in what both of their tiles show."""
    ours = _clipped(np.broadcast_to(box, boxes.shape), windows)
    theirs = _clipped(boxes, np.broadcast_to(window, windows.shape))
    return iou_of_pairs(ours, theirs)


def _clipped(boxes: Float32, windows: Float32) -> Float32:
    low = np.maximum(boxes[:, :2], windows[:, :2])
    return np.concatenate([low, np.minimum(boxes[:, 2:], windows[:, 2:])], axis=1)


def _around(box: Float32, boxes: Float32) -> Float32:
    return np.concatenate(
        [
            np.minimum(box[:2], boxes[:, :2].min(axis=0)),
            np.maximum(box[2:], boxes[:, 2:].max(axis=0)),
        ]
    )
