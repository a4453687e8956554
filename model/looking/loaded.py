"""A version in memory, and the one path by which it looks at an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.boxes import Detections
from model.classical.detector import ClassicalDetector
from model.looking.magnification import (
    FAR_FROM_FEW,
    UNLIKE_SIZE,
    is_too_small,
    is_unlike,
    typical_side,
)
from model.looking.noise import NOISY, is_noisy
from model.looking.second_opinion import SecondedDetector
from model.looking.sizing import at_found_scale, find_side
from model.looking.tiling import TiledDetector
from model.looking.turning import TurningDetector
from model.progress import OnTile, ignore_tile
from model.rcnn.detecting import Detector
from model.rcnn.scale import scale_for
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import SIZE_UNKNOWN, Prepared, prepare, seen_at


@dataclass(frozen=True, eq=False)
class Found:
    """What a version found in one image.

    Parameters
    ----------
    prepared
        The image as the detector saw it, though not enlarged yet, with its contrast group.
    detections
        In pixels of the raw image, clipped to it; scores descending.
    is_unlike_size
        Whether its cells are far from the size of those that the version learned from.
    """

    prepared: Prepared
    detections: Detections
    is_unlike_size: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """What to know of the image before trusting the boxes."""
        size = (UNLIKE_SIZE,) if self.is_unlike_size else ()
        return *self.prepared.flags, *size


@dataclass(frozen=True)
class LoadedVersion:
    """A version with its contrast groups and its detector: loaded and swapped as one object.

    Parameters
    ----------
    cell_diameter_px
        Typical diameter of a cell in raw pixels, above 0, for a version that was never taught the
        project's cells; None: it is found in each image (``model.looking.sizing``).
    """

    version: ModelVersion
    groups: ContrastGroups
    detector: Detector
    cell_diameter_px: float | None = None

    def with_cell_diameter(self, cell_diameter_px: float | None) -> LoadedVersion:
        """Return it with another typical diameter of the cells; None: it finds it."""
        if cell_diameter_px == self.cell_diameter_px:
            return self
        return replace(self, cell_diameter_px=cell_diameter_px)

    def find(
        self,
        images: Sequence[ImageRecord],
        default_class: str = "",
        on_tile: OnTile = ignore_tile,
    ) -> list[Found]:
        """Find the cells of each image: the one path of serving, evaluation and command line.

        An image is prepared whole, since its contrast is that of the whole. One larger than
        ``tiling.TILE_PX`` is then seen by tiles, each enlarged by itself where cells are small.

        Parameters
        ----------
        default_class
            What to call the boxes of a version that knows no classes; empty: as the detector does.
        on_tile
            Called before each tile of an image that is seen by tiles.

        Returns
        -------
        One for each image, in order.
        """
        prepared = [self._prepared(image) for image in images]
        detected = self._looking(on_tile).detect(prepared)
        return [
            self._found(raw, image, self._named(_in_raw_pixels(found, image), default_class))
            for raw, image, found in zip(images, prepared, detected, strict=True)
        ]

    def _prepared(self, image: ImageRecord) -> Prepared:
        config, whole = self.version.detector, prepare(image, self.groups)
        if config is None or config.scale:
            return seen_at(whole, config.scale if config else 1.0)
        if self.cell_diameter_px:
            seen = seen_at(whole, scale_for(np.array([self.cell_diameter_px]), config))
        else:
            seen = at_found_scale(whole, self.detector, config)
        return self._flagged_where_noisy(seen)

    def _flagged_where_noisy(self, seen: Prepared) -> Prepared:
        """Flag an image with more noise than a version learned that never saw the project's.

        Not where no size was found: there may be no cell, and noise is all that is left to see.
        """
        training = self.version.training
        is_empty = SIZE_UNKNOWN in seen.flags
        if training is None or is_empty or not is_noisy(seen, training.noise):
            return seen
        return replace(seen, flags=(*seen.flags, NOISY))

    def _found(self, raw: ImageRecord, image: Prepared, detections: Detections) -> Found:
        return Found(image, detections, self._is_unlike_size(raw, detections))

    def _is_unlike_size(self, raw: ImageRecord, detections: Detections) -> bool:
        """Say whether an image's cells are far from the size of those that were learned from.

        Where hardly any is found at the version's own scale, it looks at other scales too: it is
        blind to cells far larger or smaller. A version that finds the scale in each image knows all
        sizes but those that it cannot enlarge enough.
        """
        learned, config = self.version.cell_sides_px, self.version.detector
        if config is None:
            return False
        side = typical_side(detections.above(self.version.threshold).xyxy_px)
        if not config.scale:
            return is_too_small(side, config)
        if learned is None:
            return False
        if side:
            return is_unlike(side, learned)
        side = find_side(prepare(raw, self.groups), self.detector, config)
        return is_unlike(side, learned, FAR_FROM_FEW)

    def _looking(self, on_tile: OnTile) -> TiledDetector:
        """The detector as its configuration lets it look: longer at images that are seen whole."""
        config, whole = self.version.detector, self.detector
        if config:
            whole = TurningDetector(whole, config.turned_px)
        if config and config.second_opinion:
            whole = SecondedDetector(whole, ClassicalDetector())
        return TiledDetector(self.detector, self._largest_px, whole=whole, on_tile=on_tile)

    @property
    def _largest_px(self) -> float | None:
        """Side of the largest cell that the detector looks for, in prepared pixels; None: any."""
        sizes = self.version.detector.anchor_sizes if self.version.detector else ()
        return max(sizes, default=None)

    def _named(self, found: Detections, default_class: str) -> Detections:
        if self.version.classes or not default_class:
            return found
        return replace(found, classes=(default_class,))


def _in_raw_pixels(found: Detections, image: Prepared) -> Detections:
    moved = found.moved_to(image.to_raw(found.xyxy_px))
    # A box that lay wholly in the padding has no area once it is clipped to the image.
    sides = moved.xyxy_px[:, 2:] - moved.xyxy_px[:, :2]
    return moved.where(np.minimum(sides[:, 0], sides[:, 1]) > 0)
