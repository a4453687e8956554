"""What the starter learns from, and how widely varied: real images at their scales, and fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.real_images import any_cell, real_images
from benchmarks.starter.many_looks import random_field
from model.boxes import CELL, Box, edges_of, sides_of
from model.config import CONTRASTS, DetectorConfig, TrainConfig
from model.labels.examples import LabelledImage
from model.looking.tiling import TILE_PX
from model.rcnn.scale import scale_for
from model.training.data import Example, Examples
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import prepare, rescaled

#: Boxes about a cell never seen lie too far apart for votes: they cost AP50 (docs/starter.md).
DETECTOR = DetectorConfig(
    backbone="mbv2_half_64",
    anchor_sizes=(12.0, 18.0, 27.0, 40.0, 60.0, 90.0),
    # It is unsure of a kind that it has never seen: with 1,000 it found fewer (docs/speed.md).
    rpn_post_nms=2000,
    rpn_crowded=2,
    vote_iou=0.0,
    refined=False,
    turned_px=TILE_PX**2,
    second_opinion=True,
)
#: Each window is varied as widely as cells of any kind are.
TRAINING = TrainConfig(
    batch=8,
    zoom=0.5,
    astray=0.25,
    tone=0.5,
    invert=0.25,
    optics=0.5,
    shade=0.4,
    blur=1.0,
    noise=0.05,
    contrast=CONTRASTS["none"],
    keep_stem=False,
)
#: How often an image of each set is looked at for one generated field: the small set is not lost.
SHARES = {"bccd": 2, "dsb2018": 4, "usiigaci": 10}
FIELDS = 1200


@dataclass
class ScaledExamples:
    """Each image at its own scale: as a detector that found the size of its cells would see it."""

    images: Sequence[LabelledImage]
    detector: DetectorConfig
    kept: dict[int, Example] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        if index not in self.kept:
            image = self.images[index]
            scale = scale_of(image.boxes, self.detector)
            self.kept[index] = Examples([image], ContrastGroups.none(), (CELL,), scale)[0]
        return self.kept[index]


def scale_of(boxes: Sequence[Box], detector: DetectorConfig) -> float:
    """Return the scale at which a detector looks for cells of these boxes, at least one."""
    sides = sides_of(edges_of(boxes).astype(np.float64))
    return scale_for(sides[sides > 0], detector)


def field_example(seed: int) -> Example:
    """Return a generated field, at the scale at which a detector would look at it.

    One without cells is looked at from anywhere.
    """
    made = random_field(seed)
    image = ImageRecord(made.pixels, sha256="")
    anywhere = float(np.exp(np.random.default_rng(seed).uniform(np.log(0.3), np.log(3))))
    scale = scale_of(made.boxes, DETECTOR) if made.boxes else anywhere
    prepared = rescaled(prepare(image, ContrastGroups.none()), scale)
    edges = edges_of(made.boxes)
    labels = np.ones(len(edges), np.int64)
    return Example(prepared.pixels.astype(np.float16), prepared.seen_from_raw(edges), labels)


@dataclass(frozen=True)
class StarterExamples:
    """Real images, each as often as its set's share says, and generated fields, made when asked."""

    real: ScaledExamples
    order: tuple[int, ...]
    fields: int
    made: dict[int, Example] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.order) + self.fields

    def __getitem__(self, index: int) -> Example:
        if index < len(self.order):
            return self.real[self.order[index]]
        seed = index - len(self.order)
        if seed not in self.made:
            self.made[seed] = field_example(seed)
        return self.made[seed]


def examples_for(sets: Sequence[str], fields: int = FIELDS) -> StarterExamples:
    """Return what a starter learns from: the teaching sides of the sets, and fields."""
    images: list[LabelledImage] = []
    order: list[int] = []
    for name in sets:
        own = any_cell(real_images(name).rest)
        order += list(range(len(images), len(images) + len(own))) * SHARES[name]
        images += own
    return StarterExamples(ScaledExamples(images, DETECTOR), tuple(order), fields)
