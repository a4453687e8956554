"""Generated fields on disk, as a person keeps labelled images."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from backend.datasets.voc import write_voc
from model.boxes import Box
from model.generated.fields import Field


def write_labelled(
    folder: Path, fields: Iterable[Field], drawn: Callable[[Box], Box] = lambda box: box
) -> tuple[Path, Path]:
    """Write fields and the boxes that somebody draws of their truth; name both folders."""
    images, annotations = folder / "images", folder / "annotations"
    images.mkdir(parents=True)
    for number, field in enumerate(fields):
        name, (height, width) = f"field{number}.png", field.pixels.shape
        Image.fromarray(field.pixels).save(images / name)
        boxes = [drawn(box) for box in field.boxes]
        write_voc(annotations / f"field{number}.xml", name, width, height, 1, boxes)
    return images, annotations


def with_broken(labelled: Path, folder: Path, number: int) -> list[str]:
    """Copy images and annotations into one folder with so many broken images; name these."""
    for part in ("images", "annotations"):
        shutil.copytree(labelled / part, folder, dirs_exist_ok=True)
    names = [f"torn{each:02}.png" for each in range(number)]
    for name in names:
        (folder / name).write_bytes(b"")
        write_voc((folder / name).with_suffix(".xml"), name, 160, 128, 1, [])
    return names
