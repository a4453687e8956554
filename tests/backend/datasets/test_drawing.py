from __future__ import annotations

import io

import numpy as np
from PIL import Image

from backend.datasets.drawing import draw_boxes
from model.boxes import Box


def coloured(png: bytes) -> np.ndarray:  # type: ignore[type-arg]
    """Tell which pixels were drawn on: all else is grey."""
    with Image.open(io.BytesIO(png)) as image:
        return np.ptp(np.asarray(image), axis=2) > 0


def test_a_drawn_box_lies_on_the_pixels_it_covers() -> None:
    lit = coloured(
        draw_boxes(np.zeros((20, 30), np.uint16), [Box(3, 4, 10, 12, "N", 0.5)], scores=True)
    )
    rows, columns = np.nonzero(lit)
    assert (columns.min(), columns.max() + 1) == (3, 10)
    assert (rows.min(), rows.max() + 1) == (4, 12)
    assert lit.shape == (20, 30)
    assert not lit[6, 6]


def test_a_score_is_written_inside_its_box_if_asked_for() -> None:
    grey, boxes = np.zeros((50, 60), np.uint8), [Box(5, 5, 45, 40, "N", 0.5)]
    bare = coloured(draw_boxes(grey, boxes))
    written = coloured(draw_boxes(grey, boxes, scores=True)) & ~bare
    assert written[6:39, 6:44].sum() == written.sum() > 0


def test_boxes_of_two_classes_are_drawn_in_two_colours() -> None:
    boxes = [Box(2, 2, 10, 10, "A"), Box(12, 2, 20, 10, "B"), Box(22, 2, 30, 10, "A")]
    with Image.open(io.BytesIO(draw_boxes(np.zeros((12, 32), np.uint8), boxes))) as image:
        first, other, same = (image.getpixel((x, 5)) for x in (2, 12, 22))
    assert first == same != other
