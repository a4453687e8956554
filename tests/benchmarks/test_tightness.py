from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.tightness import edge_offsets, gaining, moved
from model.boxes import Box, Detections
from model.labels.examples import LabelledImage
from preprocessing.arrays import Float32

SQUARE, ROUND = range(2)
#: How far the boxes of a class lie to the right, in pixels: all alike; most a little, the rest to
#: the left, so that the median makes the rest worse.
ASIDE = {SQUARE: [2.0] * 12, ROUND: [1.4] * 8 + [-1.0] * 4}


def looked_at() -> tuple[Detections, LabelledImage]:
    """Return an image of cells ten pixels wide, and what was found in it."""
    places = np.arange(24) * 20.0
    cells: Float32 = np.stack([places, 0 * places, places + 10, 0 * places + 10], axis=1)
    aside = np.array(ASIDE[SQUARE] + ASIDE[ROUND])[:, None] * [1, 0, 1, 0]
    labels = np.repeat([SQUARE, ROUND], 12)
    scores = np.linspace(0.9, 0.6, 24).astype(np.float32)
    found = Detections((cells + aside).astype(np.float32), scores, labels, ("Square", "Round"))
    boxes = tuple(
        Box(*edges, found.classes[label])
        for edges, label in zip(cells.tolist(), labels, strict=True)
    )
    return found, LabelledImage(Path("unread.png"), "", boxes, "inner")


def test_edges_are_moved_for_the_classes_alone_whose_boxes_sit_tighter_by_it() -> None:
    found, images = zip(*[looked_at()] * 3, strict=True)
    assert set(edge_offsets(found, images, 0.5)) == {SQUARE, ROUND}
    offsets = gaining(found, images, 0.5)
    assert set(offsets) == {SQUARE}
    square = moved(found[0], offsets).xyxy_px[:12]
    assert np.allclose(square, [box.xyxy_px for box in images[0].boxes[:12]], atol=1e-4)


def test_without_images_that_tell_no_edge_is_moved() -> None:
    assert gaining([], [], 0.5) == {}
