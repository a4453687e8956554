"""Draws an image with its boxes, to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from backend.datasets.palette import COLOURS
from model.boxes import Box
from preprocessing.arrays import Grey
from preprocessing.images import encode_png, to_display

LEGIBLE_WIDTH_PX = 24


def draw_boxes(pixels: Grey, boxes: Sequence[Box], scores: bool = False) -> bytes:
    """Return a PNG of the stretched image with each box as a line one pixel wide.

    Parameters
    ----------
    pixels
        Shape (H, W).
    boxes
        In the same pixels; a colour for each class, in order of their names.
    scores
        Write each box's score beside it, if the box is wide enough to read it.
    """
    picture = Image.fromarray(to_display(pixels)).convert("RGB")
    pen = ImageDraw.Draw(picture)
    labels = sorted({box.label for box in boxes})
    for box in boxes:
        colour = COLOURS[labels.index(box.label) % len(COLOURS)]
        # The last pixel inside a half-open box is one before its far edge.
        far = max(box.xmax - 1, box.xmin), max(box.ymax - 1, box.ymin)
        pen.rectangle((box.xmin, box.ymin, *far), outline=colour, width=1)
        if scores and box.score is not None and box.width >= LEGIBLE_WIDTH_PX:
            pen.text((box.xmin + 2, box.ymin + 1), f"{box.score:.2f}", fill=colour)
    return encode_png(np.asarray(picture))
