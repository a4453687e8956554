"""The sizes that a detector looks for, from the training boxes, and which weights fit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from model.boxes import edges_of, sides_of
from model.config import DetectorConfig
from model.labels.examples import DatasetSnapshot
from model.rcnn.scale import scale_for
from preprocessing.arrays import Float64


class Maps(NamedTuple):
    """The feature maps of a backbone.

    Parameters
    ----------
    strides
        Pixels of the prepared image per cell of each map, finest first.
    sizes
        How many anchor sizes each map has: the same number, since all share one RPN head.
    """

    strides: tuple[int, ...]
    sizes: int


#: The maps of each backbone.
MAPS = {
    "mbs8_64": Maps((8, 16), sizes=2),
    "mbv2_64": Maps((8, 16), sizes=2),
    "mbv2_half_64": Maps((8, 16), sizes=2),
    "r18_p34_64": Maps((8, 16), sizes=2),
    "resnet50_fpn": Maps((4, 8, 16, 32, 64), sizes=1),
    "vgg16": Maps((16,), sizes=3),
}

#: Least ratio of one anchor size to the next smaller.
_APART = 1.2
_COARSE_STRIDE = 32
#: Of k-means at the most; it mostly settles within ten.
_ROUNDS = 50


def resolve(config: DetectorConfig, snapshot: DatasetSnapshot) -> DetectorConfig:
    """Return the configuration with its scale and anchor sizes filled in.

    From the boxes of the train side alone; what is given already stays.

    Raises
    ------
    NothingToLearn
        When the train side has not one box.
    """
    if config.scale > 0 and config.anchor_sizes:
        return config
    sides = cell_sides(snapshot)
    scale = config.scale or scale_for(sides, config)
    sizes = config.anchor_sizes or anchor_sizes(sides * scale, config.backbone)
    return replace(config, scale=scale, anchor_sizes=sizes)


def cell_sides(snapshot: DatasetSnapshot) -> Float64:
    """Return √(width · height) of every box of the train side, raw pixels, shape (N,).

    Raises
    ------
    NothingToLearn
        When there is not one box.
    """
    return sides_of(edges_of(snapshot.cells_to_learn).astype(np.float64))


def anchor_sizes(sides: Float64, backbone: str) -> tuple[float, ...]:
    """Return anchor sizes, ascending, as many as a backbone's maps take.

    Parameters
    ----------
    sides
        Shape (N,): of the cells, in pixels of the prepared image, above 0.
    backbone
        Its name in :data:`MAPS`.
    """
    maps = MAPS[backbone]
    sizes = kmeans(sides, maps.sizes * len(maps.strides))
    # A grid of stride 32 or 64 is too coarse for smaller anchors: these maps get larger ones.
    least = np.repeat([2.0 * s if s >= _COARSE_STRIDE else 0.0 for s in maps.strides], maps.sizes)
    return tuple(round(float(s), 1) for s in np.maximum(sizes, least))


def kmeans(sides: Float64, count: int) -> Float64:
    """Return ``count`` sizes, ascending, about which sides cluster on a logarithmic scale.

    As YOLO9000 chooses its anchors (Redmon and Farhadi 2017), but in one dimension and from
    quantiles, so that nothing is random. Sizes lie at least 20 % apart: cells of one size get a
    ladder about it instead of one anchor several times over.

    Parameters
    ----------
    sides
        Shape (N,), above 0.
    """
    logs = np.log(sides)
    centres = np.quantile(logs, (np.arange(count) + 0.5) / count)
    for _ in range(_ROUNDS):
        nearest = np.abs(logs[:, None] - centres).argmin(axis=1)
        moved = np.array(
            [
                logs[nearest == i].mean() if (nearest == i).any() else centres[i]
                for i in range(count)
            ]
        )
        if np.allclose(moved, centres):
            break
        centres = moved
    sizes: Float64 = np.exp(_spread(np.sort(centres)))
    return sizes


def _spread(centres: Float64) -> Float64:
    """Return logarithms of sizes, ascending, at least ``_APART`` from one another."""
    apart = centres.copy()
    for i in range(1, len(apart)):
        apart[i] = max(apart[i], apart[i - 1] + np.log(_APART))
    # With the same mean as before.
    moved: Float64 = apart + (centres.mean() - apart.mean())
    return moved


def by_level(sizes: Sequence[float], levels: int) -> tuple[tuple[float, ...], ...]:
    """Return the sizes of each feature map, finest first.

    Small ones go to the fine maps. Where the number of sizes, given by hand, is no multiple of the
    number of maps, every map has all of them.
    """
    ordered = tuple(sorted(sizes))
    each, rest = divmod(len(ordered), levels)
    if rest:
        return (ordered,) * levels
    return tuple(ordered[i * each : (i + 1) * each] for i in range(levels))


def fits(config: DetectorConfig, other: DetectorConfig) -> bool:
    """Say whether weights of one architecture can be used by the other.

    A configuration without anchor sizes can take those of the other.
    """
    if _architecture(config) != _architecture(other):
        return False
    given = config.anchor_sizes and other.anchor_sizes
    return not given or _sizes_a_map(config) == _sizes_a_map(other)


def _architecture(config: DetectorConfig) -> tuple[str, int, int]:
    return config.backbone, len(config.aspect_ratios), config.head_features


def _sizes_a_map(config: DetectorConfig) -> int:
    return len(by_level(config.anchor_sizes, len(MAPS[config.backbone].strides))[0])
