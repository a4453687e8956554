"""What overlapping tiles found, put together such that a cell on a seam counts once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.boxes import Boolean, Detections, Float32

Float = NDArray[np.float64]

#: Part of its own side by which a detector may miss an edge or a centre of a box.
JITTER = 1 / 8
#: Overlap, in what both tiles show, from which on two boxes are one cell.
SAME = 0.5


@dataclass(frozen=True)
class Tile:
    """A window of an image, half-open, in its pixels.

    Parameters
    ----------
    core
        Left, right, top, bottom of what is the tile's own: it ends in the middle of what is
        shared with a neighbour, and nowhere at the image's border.
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
    def cuts(self) -> Float:
        """The edges beyond which the image goes on; infinite where it ends with the tile."""
        low_x, high_x, low_y, high_y = np.isfinite(self.core)
        inner = np.array([low_x, low_y, high_x, high_y])
        return np.where(inner, self.xyxy_px, [-np.inf, -np.inf, np.inf, np.inf])


@dataclass(frozen=True, eq=False)
class _Seen:
    """All that the tiles found, in one table; N rows in order of preference.

    Parameters
    ----------
    found
        Sorted: what is a tile's own first, then by score.
    tile
        Shape (N,), index of the tile.
    windows
        Shape (N, 4), edges of that tile.
    cut
        Shape (N,), whether the box ends at the tile's edge and the cell perhaps goes on.
    shared
        Shape (N,), whether another tile shows a part of it.
    """

    found: Detections
    tile: NDArray[np.int64]
    windows: Float32
    cut: Boolean
    shared: Boolean


def merge(
    tiles: Sequence[Tile], found: Sequence[Detections], classes: tuple[str, ...]
) -> Detections:
    """Return what the tiles found as one result.

    A box belongs to the tile whose core holds its centre: of a cell no larger than what tiles
    share, that tile shows the whole. What two tiles show all the same, since a detector is not
    exact, counts once. A cell larger than what is shared may be cut in every tile; its parts, each
    ending at its tile's edge, agree where both tiles see it and become one box.

    Parameters
    ----------
    found
        For each tile, in pixels of the whole image.
    """
    seen = _table(tiles, found, classes)
    edges, kept = seen.found.xyxy_px.copy(), np.ones(len(seen.found), bool)
    for row in np.flatnonzero(seen.shared):
        if kept[row]:
            edges[row], same = _grow(int(row), seen, kept & seen.shared)
            kept[same] = False
    return _best_first(seen.found.moved_to(edges).where(kept))


def _table(tiles: Sequence[Tile], found: Sequence[Detections], classes: tuple[str, ...]) -> _Seen:
    index = np.repeat(np.arange(len(tiles)), [len(each) for each in found])
    caps = tuple(dict.fromkeys(cap for each in found for cap in each.caps_reached))
    edges = np.concatenate([each.xyxy_px for each in found]).astype(np.float32)
    scores = np.concatenate([each.scores for each in found])
    labels = np.concatenate([each.labels for each in found])
    within = _from_core(edges, np.array([tile.core for tile in tiles])[index])
    order = np.lexsort((-scores, within > 0))
    order = order[within[order] <= JITTER]
    index, edges = index[order], edges[order]
    windows = np.array([tile.xyxy_px for tile in tiles], np.float32)
    return _Seen(
        Detections(edges, scores[order], labels[order], classes, caps),
        index,
        windows[index],
        _ends_at(edges, np.array([tile.cuts for tile in tiles])[index]),
        _shows_in_several(edges, windows),
    )


def _best_first(found: Detections) -> Detections:
    order = np.argsort(-found.scores, kind="stable")
    return replace(
        found,
        xyxy_px=found.xyxy_px[order],
        scores=found.scores[order],
        labels=found.labels[order],
    )


def _from_core(edges: Float32, cores: Float) -> Float:
    """Return how far each centre lies out of its tile's core, in sides of the box; 0: inside."""
    sides = np.maximum(edges[:, 2:] - edges[:, :2], 1e-6).astype(np.float64)
    centres = (edges[:, :2].astype(np.float64) + edges[:, 2:]) / 2
    out = np.maximum(cores[:, 0::2] - centres, centres - cores[:, 1::2]) / sides
    return np.asarray(out.max(axis=1, initial=0.0))


def _ends_at(edges: Float32, cuts: Float) -> Boolean:
    sides = np.tile(edges[:, 2:] - edges[:, :2], 2)
    return np.asarray((np.abs(edges - cuts) <= JITTER * sides).any(axis=1))


def _shows_in_several(edges: Float32, windows: Float32) -> Boolean:
    tiles = np.zeros(len(edges), np.int64)
    for window in windows:
        tiles += (edges[:, :2] < window[2:]).all(axis=1) & (edges[:, 2:] > window[:2]).all(axis=1)
    return tiles > 1


def _grow(row: int, seen: _Seen, left: Boolean) -> tuple[Float32, NDArray[np.int64]]:
    """Return the box of a cell of which one row is the first, and the other rows of it."""
    box, window, mine = seen.found.xyxy_px[row], seen.windows[row], {int(seen.tile[row])}
    others = left & (np.arange(len(left)) > row)
    taken: list[int] = []
    while True:
        near = np.flatnonzero(others & ~np.isin(seen.tile, list(mine)))
        same = near[_agree(box, window, seen.found.xyxy_px[near], seen.windows[near]) >= SAME]
        if not len(same):
            return box, np.array(taken, np.int64)
        taken += same.tolist()
        others[same] = False
        if not seen.cut[row]:
            continue
        mine |= set(seen.tile[same].tolist())
        box = _around(box, seen.found.xyxy_px[same])
        window = _around(window, seen.windows[same])


def _agree(box: Float32, window: Float32, boxes: Float32, windows: Float32) -> Float32:
    """Return the overlap of a box with others, shape (N,), in what both of their tiles show."""
    ours = _clipped(np.broadcast_to(box, boxes.shape), windows)
    theirs = _clipped(boxes, np.broadcast_to(window, windows.shape))
    low = np.maximum(ours[:, :2], theirs[:, :2])
    high = np.minimum(ours[:, 2:], theirs[:, 2:])
    shared = _area(np.concatenate([low, high], axis=1))
    union = _area(ours) + _area(theirs) - shared
    overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return np.asarray(overlap, np.float32)


def _clipped(boxes: Float32, windows: Float32) -> Float32:
    low = np.maximum(boxes[:, :2], windows[:, :2])
    return np.concatenate([low, np.minimum(boxes[:, 2:], windows[:, 2:])], axis=1)


def _area(boxes: Float32) -> Float32:
    return np.asarray(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1))


def _around(box: Float32, boxes: Float32) -> Float32:
    return np.concatenate(
        [
            np.minimum(box[:2], boxes[:, :2].min(axis=0)),
            np.maximum(box[2:], boxes[:, 2:].max(axis=0)),
        ]
    )
