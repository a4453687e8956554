"""Which image of a folder belongs to which VOC file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.datasets.voc import read_voc
from backend.errors import BadRequest
from preprocessing.images import IMAGE_SUFFIXES

ANNOTATION_SUFFIX = ".xml"
NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Pairing:
    """Images with their VOC files, in order of file name, and what has no partner.

    Parameters
    ----------
    pairs
        Image and VOC file.
    lone_images, lone_annotations
        Those for which there is no other half.
    notes
        On stems that several images share, a sentence each.
    """

    pairs: tuple[tuple[Path, Path], ...]
    lone_images: tuple[Path, ...]
    lone_annotations: tuple[Path, ...]
    notes: tuple[str, ...]

    def notes_on_the_lone(self) -> list[str]:
        """Return a sentence on the images, and one on the VOC files, that have no partner."""
        return [
            f"{plural(len(paths), what)} left out, {why}: {shortened(p.name for p in paths)}"
            for what, why, paths in (
                ("image", "without a VOC file of the same stem", self.lone_images),
                ("VOC file", "without an image of the same stem", self.lone_annotations),
            )
            if paths
        ]


def find_images(folder: Path) -> tuple[Path, ...]:
    """Return the image files of a folder (not of its subfolders), in order of name.

    Raises
    ------
    BadRequest
        The folder is missing or holds no image.
    """
    found = tuple(p for p in _files(folder) if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise BadRequest(
            f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); "
            "images in its subfolders are not looked for: give such a folder itself."
        )
    return found


def find_annotations(folder: Path) -> tuple[Path, ...]:
    """Return the VOC files of a folder, in order of name.

    Raises
    ------
    BadRequest
        The folder is missing or holds no XML file.
    """
    found = tuple(p for p in _files(folder) if p.suffix.lower() == ANNOTATION_SUFFIX)
    if not found:
        raise BadRequest(f"{folder} holds no Pascal VOC file ({ANNOTATION_SUFFIX}).")
    return found


def others_in(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that are neither images nor XML."""
    known = {*IMAGE_SUFFIXES, ANNOTATION_SUFFIX}
    return tuple(p for p in _files(folder) if p.suffix.lower() not in known)


def pair(images: Sequence[Path], annotations: Sequence[Path]) -> Pairing:
    """Pair images and VOC files of one stem.

    Of several images of one stem (``a.png``, ``a.tif``) the one that the VOC file names in its
    ``<filename>`` is taken; when it names none of them, none is.
    """
    xml_of = {path.stem: path for path in annotations}
    of_stem: dict[str, list[Path]] = defaultdict(list)
    for path in images:
        of_stem[path.stem].append(path)
    pairs, lone, notes = [], [], list[str]()
    for stem, sharing in of_stem.items():
        xml = xml_of.get(stem)
        chosen = _choose(sharing, xml, notes) if xml else None
        pairs += [(chosen, xml)] if chosen and xml else []
        lone += [path for path in sharing if path != chosen]
    lone_xml = tuple(path for stem, path in xml_of.items() if stem not in of_stem)
    return Pairing(tuple(pairs), tuple(lone), lone_xml, tuple(notes))


def _choose(images: Sequence[Path], xml: Path, notes: list[str]) -> Path | None:
    if len(images) == 1:
        return images[0]
    named = read_voc(xml).name
    chosen = next((path for path in images if path.name == named), None)
    names = ", ".join(path.name for path in images)
    notes.append(
        f"{names} share the VOC file {xml.name}, which names {named or 'no image'}: "
        + (f"{chosen.name} has it" if chosen else "none has it; rename them or mend <filename>")
    )
    return chosen


def plural(number: int, what: str) -> str:
    """Return ``1 image`` or ``2 images``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def shortened(names: Iterable[str]) -> str:
    """Return the first names and how many more there are."""
    all_names = list(names)
    more = len(all_names) - NAMED_AT_MOST
    return ", ".join(all_names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise BadRequest(f"{folder} is no folder; give one that exists.")
    # Names that begin with a dot are a file system's own, such as the Mac's ._image.tif.
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
