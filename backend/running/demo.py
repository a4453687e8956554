"""The demo's images: generated cell fields with exact truth, and one real micrograph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import skimage.data
import tifffile
from PIL import Image

from backend.datasets.voc import write_voc
from model.generated.fields import (
    HIGH,
    LOW,
    MEDIUM,
    Field,
    FieldStyle,
    dark_on_bright,
    generate_field,
)

FIELDS_A_GROUP = 8
SHAPE = (512, 640)
FEWEST_CELLS, MOST_CELLS = 20, 300
#: A group's fields, in turn: an 8-bit PNG, a 16-bit TIFF, a PNG of dark cells, a 16-bit TIFF.
LOOKS = ("png", "tif", "dark", "tif")
#: The real micrograph: a cell by quantitative phase imaging, from scikit-image.
MICROGRAPH = "micrograph.png"


def write_demo(folder: Path) -> Path:
    """Write the demo's images, if missing, and their truth beside them.

    Returns
    -------
    The folder of the images. ``truth`` beside it has a VOC file for each field.
    """
    images, truth = folder / "images", folder / "truth"
    if (images / MICROGRAPH).exists():
        return images
    for part in (images, truth):
        part.mkdir(parents=True, exist_ok=True)
    for name, field in demo_fields():
        _write_image(images / name, field)
        height, width = field.pixels.shape
        write_voc((truth / name).with_suffix(".xml"), name, width, height, 1, field.boxes)
    # Written last: if it exists, all others do.
    micrograph = skimage.data.cell()  # type: ignore[no-untyped-call]
    Image.fromarray(micrograph).save(images / MICROGRAPH)
    return images


def demo_fields() -> Iterator[tuple[str, Field]]:
    """Yield file names and fields, the groups taking turns; always the same ones."""
    counts = np.geomspace(FEWEST_CELLS, MOST_CELLS, FIELDS_A_GROUP).round().astype(int)
    for number in range(FIELDS_A_GROUP):
        for group, style in enumerate((LOW, MEDIUM, HIGH)):
            look = LOOKS[number % len(LOOKS)]
            seed = number * 3 + group
            # Each group has its own order of counts, so that contrast does not predict the count.
            cells = int(counts[(number + 3 * group) % FIELDS_A_GROUP])
            field = generate_field(seed, SHAPE, cells, _styled(style, look))
            yield f"field-{seed + 1:02}-{style.name}.{'tif' if look == 'tif' else 'png'}", field


def _styled(style: FieldStyle, look: str) -> FieldStyle:
    if look == "dark":
        return dark_on_bright(style)
    return replace(style, bits=16) if look == "tif" else style


def _write_image(path: Path, field: Field) -> None:
    if path.suffix == ".tif":
        tifffile.imwrite(path, field.pixels)
    else:
        Image.fromarray(field.pixels).save(path)
