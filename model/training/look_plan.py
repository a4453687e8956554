"""The looks at the inner side that a training can pay for: how many, and at what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from model.boxes import Box
from model.config import DetectorConfig, TrainConfig
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.looking.seams import Tile
from model.looking.tiling import cut_out, middle
from model.training.augment import in_window
from model.training.looks import Looks
from preprocessing.arrays import Float32
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared, prepare, seen_at

#: Looks that are taken where they can be paid for, evenly over the schedule.
_MOST = 8
#: With fewer nothing could be said of a gain.
_FEWEST = 4
#: Pixels looked at, as a share of those learned from. A look costs on a CPU as much a pixel as a
#: step, a little more while a detector is young: in all at most a tenth of the training's time.
_SHARE = 0.08


def looks_for(
    snapshot: DatasetSnapshot,
    groups: ContrastGroups,
    detector: DetectorConfig,
    training: TrainConfig,
) -> Looks | None:
    """Plan looks that cost a tenth of the training's time at the most.

    Parameters
    ----------
    detector
        Resolved: its scale given.
    training
        With its number of iterations.

    Returns
    -------
    None where the inner side has no cell, or the training is too short for looks.
    """
    # In order of hash, as if drawn at random: the first few stand for all. Those without a cell
    # come last, since they show no gain.
    drawn = sorted(snapshot.of_side("inner"), key=lambda image: (not image.boxes, image.sha256))
    number, images = _affordable(drawn, detector.scale, training)
    parts: tuple[Prepared, ...] = ()
    if number < _FEWEST:
        number, chosen = _affordable_parts(drawn, training)
        cut = [_part(image, groups, detector.scale, training) for image in chosen]
        parts, images = tuple(part for part, _ in cut), tuple(image for _, image in cut)
    if number < _FEWEST or not any(image.boxes for image in images):
        return None
    at = frozenset(round(training.iterations * (i + 1) / number) for i in range(number))
    return Looks(images, groups, snapshot.classes, detector, at, parts=parts)


def _affordable(
    images: Sequence[LabelledImage], scale: float, training: TrainConfig
) -> tuple[int, tuple[LabelledImage, ...]]:
    """Return how many looks can be paid for, and at which of the images: the first ones."""
    number, chosen, spent, budget = 0, list[LabelledImage](), 0.0, 0.0
    for image in images:
        sides = [scale * side for side in image.read().pixels.shape[:2]]
        if not chosen:
            budget = _SHARE * _learned_px(sides, training)
            number = min(_MOST, int(budget / (sides[0] * sides[1])))
            if number < _FEWEST:
                break
        spent += sides[0] * sides[1]
        if number * spent > budget:
            break
        chosen.append(image)
    return number, tuple(chosen)


def _affordable_parts(
    images: Sequence[LabelledImage], training: TrainConfig
) -> tuple[int, Sequence[LabelledImage]]:
    """Return the same for parts of images, as large as those that are learned from."""
    payable = int(_SHARE * training.iterations * training.batch)
    number = min(_MOST, payable)
    return number, images[: payable // number] if number >= _FEWEST else ()


def _part(
    image: LabelledImage, groups: ContrastGroups, scale: float, training: TrainConfig
) -> tuple[Prepared, LabelledImage]:
    """Return the part about the cell that is nearest to the middle, labelled with its cells."""
    whole = seen_at(prepare(image.read(), groups), scale)
    edges = whole.seen_from_raw(image.xyxy_px)
    tile = _about_a_cell(whole, edges, training.crop_px or max(whole.seen_shape))
    seen = cut_out(whole, tile)
    moved, _, kept = in_window(edges, tile.left, tile.top, seen.pixels.shape)
    inside = tuple(
        Box(xmin, ymin, xmax, ymax, box.label)
        for box, (xmin, ymin, xmax, ymax), is_in in zip(
            image.boxes, moved.tolist(), kept, strict=True
        )
        if is_in
    )
    # A copy, so that the whole image is not kept with it.
    return replace(seen, pixels=seen.pixels.copy()), replace(image, boxes=inside)


def _about_a_cell(whole: Prepared, xyxy_px: Float32, side_px: int) -> Tile:
    tile = middle(whole, side_px)
    if not len(xyxy_px):
        return tile
    height, width = whole.seen_shape
    off = (xyxy_px[:, :2] + xyxy_px[:, 2:] - [width, height]) / 2
    x, y = off[np.square(off).sum(axis=1).argmin()]
    right = int(np.clip(x, -tile.left, width - tile.right))
    down = int(np.clip(y, -tile.top, height - tile.bottom))
    return Tile(tile.left + right, tile.top + down, tile.right + right, tile.bottom + down)


def _learned_px(sides: Sequence[float], training: TrainConfig) -> float:
    """Return how many pixels are learned from in all, were all images as large as this one."""
    height, width = (min(side, training.crop_px or side) for side in sides)
    return training.iterations * training.batch * height * width
