"""Which image of a folder belongs to which annotation."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend.datasets.boxes_csv import CSV_SUFFIX, read_csv
from backend.datasets.drawn import Truth
from backend.datasets.naming import RESULTS, composed, shown, well_named
from backend.datasets.pictures import is_picture
from backend.datasets.voc import VocSource
from backend.errors import BadRequest
from model.wording import counted, first_of
from preprocessing.images import IMAGE_SUFFIXES

ANNOTATION_SUFFIX = ".xml"
NAMED_AT_MOST = 5
#: Annotations that cannot be read, in one error.
BROKEN_AT_MOST = 20
#: What Windows, a Mac's zip and a Synology server put beside a person's files.
_OF_SYSTEMS = {
    "thumbs.db",
    "desktop.ini",
    "$recycle.bin",
    "system volume information",
    "__macosx",
    "@eadir",
}


class TruthSource(Protocol):
    """The boxes of one image: a VOC file, or an image's lines of a CSV file."""

    @property
    def title(self) -> str:
        """What it is called when it is told of."""

    @property
    def stem(self) -> str:
        """Stem of the image that it belongs to."""

    @property
    def named(self) -> str:
        """File name of the image as it is given; empty when there is none."""

    def read(self, size: tuple[int, int] | None = None, one_based: bool = False) -> Truth:
        """Return the boxes, held against an image of this width and height when it is known."""


@dataclass(frozen=True)
class Pairing:
    """Images with their annotations, in order of file name, and what has no partner.

    Parameters
    ----------
    pairs
        Image and annotation.
    lone_images, lone_annotations
        Those for which there is no other half.
    notes
        On stems that several images share, a sentence each.
    """

    pairs: tuple[tuple[Path, TruthSource], ...]
    lone_images: tuple[Path, ...]
    lone_annotations: tuple[TruthSource, ...]
    notes: tuple[str, ...]

    def notes_on_the_lone(self) -> list[str]:
        """Return a sentence on the images, and one on the annotations, that have no partner."""
        lone = (
            ("image", "without an annotation", [path.name for path in self.lone_images]),
            ("annotation", "without an image", [each.title for each in self.lone_annotations]),
        )
        return [
            f"{counted(len(names), what)} left out, {why} of the same stem: {shortened(names)}"
            for what, why, names in lone
            if names
        ]


def find_images(folder: Path, misnamed: list[str]) -> tuple[Path, ...]:
    """Return the image files of a folder (not of its subfolders), in order of name.

    A link that leads nowhere is among them: whoever reads it tells that it cannot be read.

    Parameters
    ----------
    misnamed
        Gets a sentence on each that is left out, since its name cannot be written or it is a
        picture of ours.

    Raises
    ------
    BadRequest
        The folder is missing or holds no image.
    """
    missing = (
        f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); "
        "images in its subfolders are not looked for: give such a folder itself."
    )
    inside = [p for p in _listed(folder) if os.path.isfile(p) or leads_nowhere(p)]
    left_out: list[str] = []
    found = to_look_at((p for p in inside if p.suffix.lower() in IMAGE_SUFFIXES), left_out)
    return _required(found, missing, left_out, misnamed)


def to_look_at(files: Iterable[Path], left_out: list[str]) -> list[Path]:
    """Return the files in which to look for cells.

    Parameters
    ----------
    left_out
        Gets a sentence on each other: a picture of ours, or a name that cannot be written.
    """
    named = well_named(files, left_out)
    ours = {path for path in named if path.suffix.lower() == ".png" and is_picture(path)}
    left_out += [f"{path.name} left out: a picture that Cytoloop drew" for path in sorted(ours)]
    return [path for path in named if path not in ours]


def leads_nowhere(path: Path) -> bool:
    """Tell whether a path is a link to what is not there."""
    return os.path.islink(path) and not os.path.exists(path)


def find_annotations(
    source: Path, notes: list[str], misnamed: list[str]
) -> tuple[TruthSource, ...]:
    """Return the annotations of a folder of VOC files, or of a CSV file, in order of name.

    Parameters
    ----------
    notes
        Gets a sentence on each line of a CSV file that is of no use.
    misnamed
        Gets a sentence on each VOC file that is left out, since its name cannot be written.

    Raises
    ------
    BadRequest
        The folder is missing or holds no XML file; the file is no CSV of boxes.
    """
    if source.suffix.lower() == CSV_SUFFIX and not source.is_dir():
        return read_csv(source, notes)
    missing = (
        f"{source} holds no Pascal VOC file ({ANNOTATION_SUFFIX}); a CSV of boxes is given by "
        "its own name."
    )
    inside = [path for path in _listed(source) if os.path.isfile(path)]
    left_out: list[str] = []
    found = well_named((p for p in inside if p.suffix.lower() == ANNOTATION_SUFFIX), left_out)
    return tuple(map(VocSource, _required(found, missing, left_out, misnamed)))


@dataclass(frozen=True)
class Others:
    """What lies in a folder of images and is not looked at.

    Parameters
    ----------
    files
        Those that are neither images nor XML.
    folders
        Those that may hold images.
    """

    folder: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]

    def notes(self, of_several: bool = False) -> list[str]:
        """Return a sentence on the files, and one on the folders, where there are any.

        Parameters
        ----------
        of_several
            The one on the files says of which folder they are.
        """
        notes = []
        if self.files:
            what = counted(len(self.files), "other file")
            where = f" in {self.folder}" if of_several else ""
            notes.append(f"{what}{where} left out: {shortened(self.files)}")
        if self.folders:
            verb = "is" if len(self.folders) == 1 else "are"
            what = f"{counted(len(self.folders), 'folder')} in {self.folder} {verb} not looked into"
            notes.append(f"{what}: {shortened(self.folders)}")
        return notes


def others_in(folder: Path, given: Iterable[Path] = ()) -> Others:
    """Return what lies in a folder of images and is not looked at.

    Folders without images, and those of results of ours, are not worth a word.

    Parameters
    ----------
    given
        What is looked at by itself, such as the annotations.
    """
    known = {*IMAGE_SUFFIXES, ANNOTATION_SUFFIX}
    used = {each for path in given for each in (path.resolve(), *path.resolve().parents)}
    # Unlike pathlib's, os.path's take links that lead nowhere and what may not be looked at.
    left = [path for path in _visible(folder) if Path(os.path.realpath(path)) not in used]
    return Others(
        folder,
        tuple(shown(p.name) for p in left if os.path.isfile(p) and p.suffix.lower() not in known),
        tuple(shown(p.name) for p in left if os.path.isdir(p) and _may_hold_images(p)),
    )


def _may_hold_images(folder: Path) -> bool:
    """Tell whether a folder holds images or further folders, and no results of ours."""
    try:
        inside = _visible(folder)
        if any(path.name in RESULTS for path in inside):
            return False
        return any(path.suffix.lower() in IMAGE_SUFFIXES or path.is_dir() for path in inside)
    except OSError:  # nobody may look, so nobody knows
        return True


def pair(images: Sequence[Path], annotations: Sequence[TruthSource]) -> Pairing:
    """Pair images and annotations of one stem, whichever way each writes an umlaut.

    Of several images of one stem (``a.png``, ``a.tif``) the one that the annotation names is
    taken; when it names none of them, none is. Of several annotations of one stem none is.

    Raises
    ------
    BadRequest
        Annotations with an image are broken: it names them all.
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
        annotation = _only(of_one_stem.get(stem, []), notes)
        chosen = _choose(sharing, annotation, notes) if annotation else None
        pairs += [(chosen, annotation)] if chosen and annotation else []
        lone += [path for path in sharing if path != chosen]
    lone_annotations = [each for each in annotations if composed(each.stem) not in of_stem]
    return Pairing(tuple(pairs), tuple(lone), tuple(lone_annotations), tuple(notes))


def _require_readable(annotations: Sequence[TruthSource]) -> None:
    """Read all, so that somebody who mends broken ones knows of each and not of the next alone."""
    broken = []
    for each in annotations:
        try:
            each.read()
        except (BadRequest, OSError) as error:
            broken.append(str(error))
    if len(broken) == 1:
        raise BadRequest(broken[0])
    if broken:
        words = f"{len(broken)} annotations cannot be read:"
        raise BadRequest("\n  ".join([words, *first_of(broken, BROKEN_AT_MOST)]))


def _only(sharing: Sequence[TruthSource], notes: list[str]) -> TruthSource | None:
    if len(sharing) > 1:
        titles = ", ".join(each.title for each in sharing)
        notes.append(f"{titles} speak of images of one stem: none is taken; rename the images")
    return sharing[0] if len(sharing) == 1 else None


def _choose(images: Sequence[Path], annotation: TruthSource, notes: list[str]) -> Path | None:
    if len(images) == 1:
        return images[0]
    named = annotation.named
    same = [path for path in images if composed(path.name) == composed(named)]
    chosen = next((path for path in same if path.name == named), same[0] if same else None)
    names = ", ".join(path.name for path in images)
    notes.append(
        f"{names} share the annotation {annotation.title}, which names {named or 'no image'}: "
        + (f"{chosen.name} has it" if chosen else "none has it; rename them or mend the name")
    )
    return chosen


def shortened(names: Iterable[str], most: int = NAMED_AT_MOST) -> str:
    """Return the first names and how many more there are."""
    all_names = list(names)
    more = len(all_names) - most
    return ", ".join(all_names[:most]) + (f" and {more} more" if more > 0 else "")


def _required(
    found: Sequence[Path], missing: str, left_out: Sequence[str], misnamed: list[str]
) -> tuple[Path, ...]:
    """Return what was found; where that is nothing, say what is missing."""
    if not found:
        raise BadRequest("\n  ".join([missing, *first_of(left_out)]))
    misnamed += left_out
    return tuple(found)


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        is_what = "no folder" if folder.exists() else "not there"
        raise BadRequest(f"{folder} is {is_what}; give a folder that exists.")
    return _visible(folder)


def _visible(folder: Path) -> list[Path]:
    """Return what a person has put into a folder, not what a file system did for itself."""
    own = (path for path in folder.iterdir() if path.name.lower() not in _OF_SYSTEMS)
    # Names that begin with a dot, too, are a file system's, such as the Mac's ._image.tif.
    return sorted(path for path in own if not path.name.startswith("."))
