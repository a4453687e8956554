"""Images larger than a detector is meant for: seen by overlapping tiles, one after another.

A tile is as large as the images that the caps on proposals and detections are made for, so that a
large image may be as dense as a small one, and what a detection costs in memory does not grow with
the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from model.boxes import Detections
from model.looking.seams import Tile, merge
from model.progress import OnTile, ignore_tile
from model.rcnn.detecting import Detector
from preprocessing.prepare import Prepared, part_seen

#: Longest side, in prepared pixels, of an image that is seen whole, and of a tile. At the density
#: of 1,000 cells on 1280×1024 a tile holds 1,250: below the cap of 1,500 (``model.config``).
TILE_PX = 1280
#: Tiles share so many sides of the largest cell that the detector looks for: one whose centre is in
#: a tile's core lies whole in that tile up to that size, and at its usual size with surroundings.
CELLS_SHARED = 2.0
#: Share of a tile that is shared at the most, else tiles would hardly advance. Larger cells are put
#: together from parts.
MOST_SHARED = 0.5
#: The same where the size of the cells is not known.
USUALLY_SHARED = 0.125
#: Percentile of the boxes' sides that is the largest cell: above lie two cells in one, and clutter.
LARGEST = 95


@dataclass(frozen=True)
class TiledDetector:
    """A detector that sees images that are too large for it by tiles, the others whole.

    Parameters
    ----------
    largest_px
        Side of the largest cell that it looks for, in prepared pixels, such as its largest anchor;
        None: it knows no size, and the middle of each large image is looked at first.
    tile_px
        Largest side of an image that is seen whole, and of a tile.
    whole
        Sees the images that are seen whole, and may take longer for them; None: the same detector.
    on_tile
        Called before each tile.
    """

    detector: Detector
    largest_px: float | None = None
    tile_px: int = TILE_PX
    whole: Detector | None = None
    on_tile: OnTile = ignore_tile

    @property
    def classes(self) -> tuple[str, ...]:
        return self.detector.classes

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        """Find the cells of each image; see ``model.rcnn.detecting.Detector``.

        A cap that was reached in any tile is reported for the whole image.
        """
        small = [cut_out(i, middle(i, self.tile_px)) for i in images if not self._is_large(i)]
        whole = iter((self.whole or self.detector).detect(small))
        found = [self._by_tiles(i) if self._is_large(i) else next(whole) for i in images]
        return [_as_it_lies(each, image) for each, image in zip(found, images, strict=True)]

    def _is_large(self, image: Prepared) -> bool:
        return max(image.seen_shape) > self.tile_px

    def _by_tiles(self, image: Prepared) -> Detections:
        tiles = lay_out(*image.seen_shape, self.tile_px, self._overlap(image))
        found = []
        for done, tile in enumerate(tiles):
            self.on_tile(done, len(tiles))
            found.append(self._in_tile(image, tile))
        return merge(tiles, found)

    def _in_tile(self, image: Prepared, tile: Tile) -> Detections:
        """Return what one tile shows, in pixels of the whole image as it is seen."""
        (found,) = self.detector.detect([cut_out(image, tile)])
        return found.moved_to(found.xyxy_px + np.array([tile.left, tile.top] * 2, np.float32))

    def _overlap(self, image: Prepared) -> int:
        largest = self.largest_px or self._largest_in_the_middle(image)
        shared = CELLS_SHARED * largest if largest else USUALLY_SHARED * self.tile_px
        return round(min(shared, MOST_SHARED * self.tile_px))

    def _largest_in_the_middle(self, image: Prepared) -> float | None:
        (found,) = self.detector.detect([cut_out(image, middle(image, self.tile_px))])
        if not len(found):
            return None
        # The faint may be many and of any size.
        edges = found.above(float(np.median(found.scores))).xyxy_px
        return float(np.percentile((edges[:, 2:] - edges[:, :2]).max(axis=1), LARGEST))


def lay_out(height: int, width: int, tile_px: int, overlap: int) -> tuple[Tile, ...]:
    """Return the tiles of an image, row by row: as few as suffice, all of one size.

    Parameters
    ----------
    tile_px
        Largest side of a tile.
    overlap
        How much neighbours share at the least, in pixels; below ``tile_px``.
    """
    rows, columns = (_spans(side, tile_px, overlap) for side in (height, width))
    return tuple(
        Tile(left, top, right, bottom, core=(*core_x, *core_y))
        for (top, bottom, *core_y), (left, right, *core_x) in product(rows, columns)
    )


def middle(image: Prepared, side_px: int) -> Tile:
    """Return the tile in the middle of an image, of ``side_px`` pixels a side where it has them."""
    height, width = (min(side, side_px) for side in image.seen_shape)
    top, left = (image.seen_shape[0] - height) // 2, (image.seen_shape[1] - width) // 2
    return Tile(left, top, left + width, top + height)


def middle_tile(image: Prepared) -> Prepared:
    """Return what is seen at once of an image's middle: all of it, where it is small enough."""
    return cut_out(image, middle(image, TILE_PX))


def cut_out(image: Prepared, tile: Tile) -> Prepared:
    """Return what a tile shows of an image, enlarged as it is to be seen."""
    return part_seen(image, slice(tile.top, tile.bottom), slice(tile.left, tile.right))


def _as_it_lies(found: Detections, image: Prepared) -> Detections:
    """Return what was found in an image that is seen enlarged in pixels of the image itself."""
    if image.enlargement == 1:
        return found
    return found.moved_to((found.xyxy_px / image.growth).astype(np.float32))


def _spans(side: int, tile_px: int, overlap: int) -> list[tuple[int, int, float, float]]:
    """Return along a side where each tile starts and ends, and where its core does."""
    if side <= tile_px:
        return [(0, side, -np.inf, np.inf)]
    count = int(np.ceil((side - overlap) / (tile_px - overlap)))
    length = int(np.ceil((side + (count - 1) * overlap) / count))
    starts = np.linspace(0, side - length, count).astype(int).tolist()
    seams = [(start + length + following) / 2 for start, following in pairwise(starts)]
    edges = [-np.inf, *seams, np.inf]
    return [(s, s + length, edges[i], edges[i + 1]) for i, s in enumerate(starts)]
