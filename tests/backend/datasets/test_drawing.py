from __future__ import annotations

import io

import numpy as np
from PIL import Image

from backend.datasets.drawing import draw_boxes
from model.boxes import Box


def test_a_drawn_box_lies_on_the_pixels_it_covers() -> None:
    png = draw_boxes(np.zeros((20, 30), np.uint16), [Box(3, 4, 10, 12, "N", 0.5)], scores=True)
    with Image.open(io.BytesIO(png)) as image:
        lit = np.ptp(np.asarray(image), axis=2) > 0  # all else is grey
    rows, columns = np.nonzero(lit)
    assert (columns.min(), columns.max() + 1) == (3, 10)
    assert (rows.min(), rows.max() + 1) == (4, 12)
    assert lit.shape == (20, 30)
    assert not lit[6, 6]
