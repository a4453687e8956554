"""Labelled images and the frozen, content-addressed set of them that a run learns from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model.atomic import new_file
from model.boxes import Box, edges_of
from model.errors import NothingToLearn
from preprocessing.arrays import Float32
from preprocessing.errors import UnreadableImage
from preprocessing.hashing import cached_sha256_of
from preprocessing.images import ImageRecord, PageKey, read_image

Side = Literal["train", "inner", "held-out"]


@dataclass(frozen=True)
class LabelledImage:
    """One image with its true boxes.

    Parameters
    ----------
    path
        The raw file; it is read when pixels are wanted, never kept.
    sha256
        Hash of the raw file.
    page
        Page of a many-page TIFF.
    boxes
        The truth, in pixels of the raw image; empty for an image known to have no cell.
    side
        ``train`` learns, ``inner`` stops and calibrates, ``held-out`` judges; fixed for ever.
    name
        What the user calls it.
    """

    path: Path
    sha256: str
    boxes: tuple[Box, ...]
    side: Side = "train"
    page: int = 0
    name: str = ""

    @property
    def key(self) -> PageKey:
        return self.sha256, self.page

    def read(self) -> ImageRecord:
        """Read its pixels.

        Raises
        ------
        UnreadableImage
            The raw file cannot be read, or is another than the one that was labelled.
        """
        if self._is_changed:
            raise UnreadableImage(
                f"{self.name or self.path.name} is not as it was when it was labelled: its file"
                f" {self.path} is damaged or was changed. Put it back, or import it again, then"
                " try again"
            )
        return read_image(self.path, self.page, self.sha256)

    @property
    def _is_changed(self) -> bool:
        try:
            return cached_sha256_of(self.path) != self.sha256
        except OSError:  # it is gone, or cannot be read: as whoever reads it will say
            return False

    @property
    def xyxy_px(self) -> Float32:
        """Shape (N, 4)."""
        return edges_of(self.boxes)

    def to_json(self) -> dict[str, Any]:
        boxes = [[*b.xyxy_px, b.label] for b in self.boxes]
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "page": self.page,
            "name": self.name,
            "side": self.side,
            "boxes": boxes,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> LabelledImage:
        boxes = tuple(Box(b[0], b[1], b[2], b[3], b[4]) for b in values["boxes"])
        return cls(
            path=Path(values["path"]),
            sha256=values["sha256"],
            boxes=boxes,
            side=values["side"],
            page=values["page"],
            name=values["name"],
        )


@dataclass(frozen=True)
class DatasetSnapshot:
    """The labelled images of one run, frozen.

    Parameters
    ----------
    images
        In order of correction.
    classes
        The classes the detector is to know, in label order.

    Raises
    ------
    ValueError
        A box is of none of the classes: whoever makes a snapshot leaves it out, or knows its class.
    """

    images: tuple[LabelledImage, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        known = frozenset(self.classes)
        for image in self.images:
            if unknown := {box.label for box in image.boxes} - known:
                raise ValueError(
                    f"{image.name or image.sha256} has boxes of {', '.join(sorted(unknown))}, which"
                    f" is none of the snapshot's classes ({', '.join(self.classes)})"
                )

    def of_side(self, *sides: Side) -> tuple[LabelledImage, ...]:
        return tuple(i for i in self.images if i.side in sides)

    @property
    def cells_to_learn(self) -> tuple[Box, ...]:
        """The boxes of the train side that have an area.

        Raises
        ------
        NothingToLearn
            When there is not one.
        """
        images = self.of_side("train")
        cells = tuple(b for i in images for b in i.boxes if b.width > 0 and b.height > 0)
        if not cells:
            of_these = f" of {', '.join(self.classes)}" if self.classes else ""
            raise NothingToLearn(
                f"none of the {len(images)} training images has a box{of_these}:"
                " correct at least one image with cells, then train again"
            )
        return cells

    def seen_elsewhere(self, lineage: Iterable[str]) -> set[str]:
        """Return the hashes of what a version has seen other than in this snapshot.

        The pages of a file have one hash and may be on several sides: those of this snapshot are
        told apart by it.
        """
        return set(lineage) - {image.sha256 for image in self.of_side("train", "inner")}

    @property
    def sha256(self) -> str:
        """Hash of content: image hashes, boxes, sides and classes, wherever the files lie."""
        content = [
            {k: v for k, v in i.to_json().items() if k not in ("path", "name")} for i in self.images
        ]
        text = json.dumps({"images": content, "classes": self.classes}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        values = {"classes": self.classes, "images": [i.to_json() for i in self.images]}
        with new_file(path) as partial:  # of thousands of boxes, not to be read by people
            partial.write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> DatasetSnapshot:
        values = json.loads(path.read_text(encoding="utf-8"))
        images = tuple(LabelledImage.from_json(i) for i in values["images"])
        return cls(images, tuple(values["classes"]))


def evenly(images: Sequence[LabelledImage], number: int) -> Sequence[LabelledImage]:
    """Return so many of the images, spread evenly over them; all where there are no more."""
    if len(images) <= number:
        return images
    return [images[i] for i in np.linspace(0, len(images) - 1, number).astype(int)]
