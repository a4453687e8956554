"""Generated fields on disk: labelled images with exact truth that benchmarks learn from."""

from __future__ import annotations

from pathlib import Path

from model.boxes import CELL
from model.generated.fields import FieldStyle, generate_field
from model.labels.examples import LabelledImage
from preprocessing.hashing import sha256_of
from preprocessing.images import encode_png


def labelled_field(
    folder: Path, seed: int, shape: tuple[int, int], cells: int, style: FieldStyle
) -> LabelledImage:
    """Write a field as PNG, and return it with the boxes of its cells, all of class ``cell``.

    Parameters
    ----------
    shape
        (H, W) in pixels.
    cells
        How many to lay out.
    """
    field = generate_field(seed, shape, cells, style, CELL)
    path = folder / f"{seed}-{cells}.png"
    path.write_bytes(encode_png(field.pixels))
    return LabelledImage(path, sha256_of(path), field.boxes, name=path.name)
