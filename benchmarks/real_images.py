"""Labelled images of a public set, by side: what the benchmarks teach with and judge on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backend.datasets.folder import labelled_folder
from benchmarks.sides import MANIFESTS, data_folder
from model.boxes import CELL
from model.labels.examples import LabelledImage

#: Of so many images that may teach, one stops and chooses the threshold instead.
INNER_SHARE = 6


@dataclass(frozen=True)
class RealImages:
    """One set's images: ``rest`` may teach, ``test`` judges.

    Parameters
    ----------
    classes
        Most frequent first.
    """

    name: str
    rest: tuple[LabelledImage, ...]
    test: tuple[LabelledImage, ...]
    classes: tuple[str, ...]


def real_images(name: str) -> RealImages:
    """Read a set by its manifest; the first fold of Usiigaci judges."""
    folder = data_folder() / name
    found = labelled_folder(folder / "images", folder / "annotations")
    manifest = json.loads((MANIFESTS / f"{name}.json").read_text("utf-8"))
    judging = set(manifest.get("test") or manifest["fold 1"])
    test = tuple(i for i in found.images if i.sha256 in judging)
    rest = tuple(i for i in found.images if i.sha256 not in judging)
    return RealImages(name, rest, test, found.classes)


def any_cell(images: Sequence[LabelledImage]) -> tuple[LabelledImage, ...]:
    """Return the images with every box of one class: finding is judged then, not naming."""
    return tuple(
        replace(image, boxes=tuple(replace(box, label=CELL) for box in image.boxes))
        for image in images
    )


def spread(images: tuple[LabelledImage, ...], number: int) -> tuple[LabelledImage, ...]:
    """Return a fixed part of the images, as if drawn: those with the lowest hashes."""
    return tuple(sorted(images, key=lambda i: i.sha256)[:number])


def link_folder(images: tuple[LabelledImage, ...], folder: Path) -> Path:
    """Make a folder with the images' files alone, as a lab would have it."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        (folder / image.path.name).symlink_to(image.path.resolve())
    return folder
