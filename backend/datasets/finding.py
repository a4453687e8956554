"""Finds what is in a folder: images, annotations, and other files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.datasets.boxes_csv import CSV_SUFFIX, read_csv
from backend.datasets.listing import visible_in
from backend.datasets.naming import shown, well_named
from backend.datasets.pairing import TruthSource
from backend.datasets.pictures import is_picture
from backend.datasets.result_folder import RESULTS
from backend.datasets.voc import VocSource
from backend.errors import BadRequest
from model.wording import counted, first_of, shortened
from preprocessing.images import IMAGE_SUFFIXES

ANNOTATION_SUFFIX = ".xml"


def find_images(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the image files of a folder, without its subfolders, in order of name.

    Broken links are included; reading one reports that it cannot be read.

    Returns
    -------
    The files, and a sentence on each one left out because its name cannot be written or it is a
    picture of ours.

    Raises
    ------
    BadRequest
        The folder is missing or has no image.
    """
    missing = (
        f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); "
        "images in its subfolders are not looked for: give such a folder itself."
    )
    found, left_out = to_look_at(images_in(folder))
    _require(found, missing, left_out)
    return found, left_out


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, including those that :func:`find_images` leaves out."""
    inside = [p for p in _listed(folder) if os.path.isfile(p) or leads_nowhere(p)]
    return [path for path in inside if path.suffix.lower() in IMAGE_SUFFIXES]


def to_look_at(files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the files in which to look for cells.

    Returns
    -------
    The files, and a sentence on each other one: a picture of ours, or a name that cannot be
    written.
    """
    named, left_out = well_named(files)
    ours = {path for path in named if path.suffix.lower() == ".png" and is_picture(path)}
    left_out += [f"{path.name} left out: a picture that Cytoloop drew" for path in sorted(ours)]
    return [path for path in named if path not in ours], left_out


def leads_nowhere(path: Path) -> bool:
    """Tell whether a path is a broken link."""
    return os.path.islink(path) and not os.path.exists(path)


@dataclass(frozen=True)
class FoundAnnotations:
    """The annotations in a folder of VOC files or in a CSV file, in order of name.

    Parameters
    ----------
    misnamed
        A sentence on each VOC file left out because its name cannot be written.
    useless
        A sentence on each line of a CSV file that cannot be used.
    """

    sources: Sequence[TruthSource]
    misnamed: Sequence[str] = ()
    useless: Sequence[str] = ()


def find_annotations(source: Path) -> FoundAnnotations:
    """Return the annotations in a folder of VOC files or in a CSV file.

    Raises
    ------
    BadRequest
        The folder is missing or has no XML file, or the file is no CSV of boxes.
    """
    is_csv = source.suffix.lower() == CSV_SUFFIX
    is_voc = source.suffix.lower() == ANNOTATION_SUFFIX
    if not source.is_dir() and (is_csv or (source.is_file() and not is_voc)):
        images, useless = read_csv(source)
        return FoundAnnotations(images, useless=useless)
    missing = (
        f"{source} holds no Pascal VOC file ({ANNOTATION_SUFFIX}); a CSV of boxes is given by "
        "its own name."
    )
    inside = [path for path in _listed(source) if os.path.isfile(path)]
    found, misnamed = well_named([p for p in inside if p.suffix.lower() == ANNOTATION_SUFFIX])
    _require(found, missing, misnamed)
    return FoundAnnotations([VocSource(path) for path in found], misnamed)


@dataclass(frozen=True)
class Others:
    """Other content of a folder of images, which is not looked at.

    Parameters
    ----------
    files
        Files that are neither images nor XML.
    folders
        Folders that may contain images.
    """

    folder: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]

    def notes(self, of_several: bool = False) -> list[str]:
        """Return a sentence on the files and one on the folders, if there are any.

        Parameters
        ----------
        of_several
            The sentence on the files names their folder.
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
    """Return the other content of a folder of images, which is not looked at.

    Folders without images, and our own folders of results, are not mentioned.

    Parameters
    ----------
    given
        Paths that are looked at anyway, such as the annotations.
    """
    known = {*IMAGE_SUFFIXES, ANNOTATION_SUFFIX}
    used = {each for path in given for each in (path.resolve(), *path.resolve().parents)}
    # Unlike pathlib's, os.path's functions accept broken links and what may not be read.
    left = [path for path in visible_in(folder) if Path(os.path.realpath(path)) not in used]
    return Others(
        folder,
        tuple(shown(p.name) for p in left if os.path.isfile(p) and p.suffix.lower() not in known),
        tuple(shown(p.name) for p in left if os.path.isdir(p) and _may_hold_images(p)),
    )


def _may_hold_images(folder: Path) -> bool:
    """Tell whether a folder contains images or folders, and is none of our folders of results."""
    try:
        inside = visible_in(folder)
        if any(path.name in RESULTS for path in inside):
            return False
        return any(path.suffix.lower() in IMAGE_SUFFIXES or path.is_dir() for path in inside)
    except OSError:  # we may not look inside
        return True


def _require(found: Sequence[Path], missing: str, left_out: Sequence[str]) -> None:
    """Raise an error that says what is missing if nothing was found."""
    if not found:
        raise BadRequest("\n  ".join([missing, *first_of(left_out)]))


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        is_what = "no folder" if folder.exists() else "not there"
        raise BadRequest(f"{folder} is {is_what}; give a folder that exists.")
    return visible_in(folder)
