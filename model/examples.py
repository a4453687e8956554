"""Labelled images and the frozen, content-addressed set of them that a run learns from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from model.atomic import new_file
from model.boxes import Box, Float32, edges_of
from model.errors import NothingToLearn
from preprocessing.images import ImageRecord, read_image

Side = Literal["train", "inner", "held-out"]

FIVE = 5
FEWEST_OF_FIVE = 3
INNER_FROM = 20


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

    def read(self) -> ImageRecord:
        return read_image(self.path, self.page, self.sha256)

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
            raise NothingToLearn(
                f"none of the {len(images)} training images has a box of {', '.join(self.classes)}:"
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


def content_hash(sha256: str, page: int) -> str:
    """Return a hash of one page; those of a file have one sha256 and would go to one side."""
    return sha256 if page == 0 else hashlib.sha256(f"{sha256} {page}".encode()).hexdigest()


def is_reserved(content: str) -> bool:
    """Whether an image is held out by its hash alone, as one in five are.

    So it is known before anyone has corrected it.
    """
    return int(content, 16) % FIVE == 0


def decide_sides(
    hashes: Sequence[str],
    known: Sequence[Side | None],
    groups: Sequence[int],
    reserving: bool = False,
) -> list[Side | None]:
    """Return the side of each image; a side that is known stays as it is.

    Images alike, such as two frames of one field, share a side: that of the earliest that has one.
    Else the first image of each group is dealt for all of it. Of each five of these, in order, the
    one with the lowest hash is held out. Once ``INNER_FROM`` groups have a side, the one with the
    second lowest hash of each five goes to the inner side; below that trainings run on a fixed
    schedule and need none. A last, unfinished five is decided like a whole one when it has three
    or more, and the one or two that fill it up later teach: it has what judges. One or two alone
    wait for the next run, since neither training on them nor holding them out would be fair to
    both sides.

    Parameters
    ----------
    hashes
        In order of correction, those with a known side first.
    known
        The side of each image; None where it has none yet.
    groups
        Images alike have one number (see ``model.likeness.group_alike``).
    reserving
        Hold out the images that are reserved, and of fives only while fewer than a fifth of all
        are held out: for projects whose held-out tasks are to be known when they are opened.

    Returns
    -------
    A side for each image; None where it waits.
    """
    sides: dict[int, Side | None] = {}
    for group, side in zip(groups, known, strict=True):
        if side and group not in sides:
            sides[group] = side
    first: dict[int, str] = {}
    for group, sha256 in zip(groups, hashes, strict=True):
        if group not in sides:
            first.setdefault(group, sha256)
    if reserving:
        sides |= {group: "held-out" for group, sha256 in first.items() if is_reserved(sha256)}
        first = {group: sha256 for group, sha256 in first.items() if group not in sides}
    decided = [side for side in sides.values() if side]
    sides |= zip(first, _deal(list(first.values()), decided, reserving), strict=True)
    return [side or sides[group] for group, side in zip(groups, known, strict=True)]


def _deal(hashes: Sequence[str], decided: Sequence[Side], reserving: bool) -> list[Side | None]:
    """Fill up the last five of those that are decided, and deal fives after it."""
    dealt: list[Side | None] = ["train"] * min(_missing(decided), len(hashes))
    for start in range(len(dealt), len(hashes), FIVE):
        five, done = hashes[start : start + FIVE], [*decided, *dealt]
        enough = reserving and FIVE * done.count("held-out") >= len(done) + len(five)
        dealt += _sides_of_five(five, not enough, with_inner=len(done) >= INNER_FROM)
    return dealt


def _missing(decided: Sequence[Side]) -> int:
    """Return how many images the last five still lacks that has its held-out and inner ones."""
    missing = -len(decided) % FIVE
    whole = len(decided) + missing
    judged = FIVE * decided.count("held-out") >= whole
    stopped = FIVE * decided.count("inner") >= whole - INNER_FROM
    return missing if missing < FEWEST_OF_FIVE and judged and stopped else 0


def _sides_of_five(five: Sequence[str], with_held_out: bool, with_inner: bool) -> list[Side | None]:
    if len(five) < FEWEST_OF_FIVE:
        return [None] * len(five)
    ranked = sorted(five)
    held_out, inner = ranked[0] if with_held_out else None, ranked[1] if with_inner else None
    return ["held-out" if h == held_out else "inner" if h == inner else "train" for h in five]
