"""Pairs the images of a folder with their annotations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend.datasets.drawn import Truth
from backend.datasets.naming import composed
from backend.errors import BadRequest
from model.wording import counted, first_of, shortened

#: How many unreadable annotations one error names.
BROKEN_AT_MOST = 20


class TruthSource(Protocol):
    """The boxes of one image: a VOC file, or an image's lines of a CSV file."""

    @property
    def title(self) -> str:
        """Its name in messages."""

    @property
    def stem(self) -> str:
        """Stem of its image."""

    @property
    def named(self) -> str:
        """The image's file name as the source gives it; empty if it gives none."""

    def read(self, size: tuple[int, int] | None = None, one_based: bool = False) -> Truth:
        """Return the boxes, checked against the image's width and height if these are known."""


@dataclass(frozen=True)
class Pairing:
    """Images with their annotations, in order of file name, and what has no partner.

    Parameters
    ----------
    pairs
        Image and annotation.
    lone_images, lone_annotations
        Those without a partner.
    notes
        A sentence on each stem that several images share.
    """

    pairs: tuple[tuple[Path, TruthSource], ...]
    lone_images: tuple[Path, ...]
    lone_annotations: tuple[TruthSource, ...]
    notes: tuple[str, ...]

    def notes_on_the_lone(self) -> list[str]:
        """Return a sentence on images, and one on annotations, without a partner."""
        lone = (
            ("image", "without an annotation", [path.name for path in self.lone_images]),
            ("annotation", "without an image", [each.title for each in self.lone_annotations]),
        )
        notes = [
            f"{counted(len(names), what)} left out, {why} of the same stem: {shortened(names)}"
            for what, why, names in lone
            if names
        ]
        return notes + self.notes_on_case()

    def notes_on_case(self) -> list[str]:
        """Name those that would have a partner if case did not matter."""
        stems = {composed(path.stem).casefold(): path.name for path in self.lone_images}
        alike = [
            f"{stems[key]} and {each.title}"
            for each in self.lone_annotations
            if (key := composed(each.stem).casefold()) in stems
        ]
        why = "differ in upper and lower case alone; name them alike"
        return [f"{shortened(alike)} {why}"] if alike else []


def pair(images: Sequence[Path], annotations: Sequence[TruthSource]) -> Pairing:
    """Pair images and annotations of one stem, however each writes an umlaut.

    If several images have one stem (``a.png``, ``a.tif``), the one that the annotation names is
    taken, or none if it names none of them. If several annotations have one stem, none is taken.

    Raises
    ------
    BadRequest
        Annotations that have an image are broken; the message names them.
    """
    of_one_stem: dict[str, list[TruthSource]] = defaultdict(list)
    for each in annotations:
        of_one_stem[composed(each.stem)].append(each)
    of_stem: dict[str, list[Path]] = defaultdict(list)
    for path in images:
        of_stem[composed(path.stem)].append(path)
    alone = (each[0] for stem, each in of_one_stem.items() if len(each) == 1 and stem in of_stem)
    _require_readable(list(alone))
    pairs, lone, notes = [], [], list[str]()
    for stem, sharing in of_stem.items():
        chosen, note = _choose(sharing, of_one_stem.get(stem, []))
        pairs += [(chosen, of_one_stem[stem][0])] if chosen else []
        notes += [note] if note else []
        lone += [path for path in sharing if path != chosen]
    lone_annotations = [each for each in annotations if composed(each.stem) not in of_stem]
    return Pairing(tuple(pairs), tuple(lone), tuple(lone_annotations), tuple(notes))


def _require_readable(annotations: Sequence[TruthSource]) -> None:
    """Read all annotations, so that one error names every broken one, not only the first."""
    broken = []
    for each in annotations:
        try:
            each.read()
        except BadRequest as error:
            broken.append(str(error))
    if len(broken) == 1:
        raise BadRequest(broken[0])
    if broken:
        words = f"{len(broken)} annotations cannot be read:"
        raise BadRequest("\n  ".join([words, *first_of(broken, BROKEN_AT_MOST)]))


def _choose(images: Sequence[Path], annotations: Sequence[TruthSource]) -> tuple[Path | None, str]:
    """Return the image of a stem that its annotation belongs to, and what is odd about it."""
    if len(annotations) > 1:
        titles = ", ".join(each.title for each in annotations)
        return None, f"{titles} speak of images of one stem: none is taken; rename the images"
    if not annotations:
        return None, ""
    if len(images) == 1:
        return images[0], ""
    (annotation,) = annotations
    named = annotation.named
    same = [path for path in images if composed(path.name) == composed(named)]
    chosen = next((path for path in same if path.name == named), same[0] if same else None)
    names = ", ".join(path.name for path in images)
    fate = f"{chosen.name} has it" if chosen else "none has it; rename them or mend the name"
    whom = named or "no image"
    return chosen, f"{names} share the annotation {annotation.title}, which names {whom}: {fate}"
