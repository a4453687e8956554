"""A project's boxes as Pascal VOC beside their raw images or as CSV, and its counts as a table."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from backend.datasets.boxes_csv import write_csv
from backend.datasets.counts import counts_csv
from backend.datasets.drawn import EDGES
from backend.datasets.known import SKIPPED, KnownImage, known_images
from backend.datasets.rawfiles import page_as_tiff, told_of, turned_note
from backend.datasets.result_folder import ANNOTATIONS, EXPORTED
from backend.datasets.voc import voc_bytes
from backend.datasets.writing import as_csv, partial_file, partial_folder, write_whole
from backend.errors import BadRequest, NotFound
from backend.services import Services
from model.boxes import Box
from model.labels.label_guard import SetAside, summary
from model.wording import counted, first_of, shortened
from preprocessing.decoding import is_turned
from preprocessing.errors import UnreadableImage

IMAGES, CONTENTS = "images", EXPORTED
#: The boxes that look wrong to the label guard; they are exported all the same.
WARNINGS = "warnings.csv"
WARNING_COLUMNS = ("image", "class", *EDGES, "reason", "why")

#: A path inside the export, and what is to lie there: bytes, or a file to copy.
Entry = tuple[str, bytes | Path]


@dataclass(frozen=True)
class Exported:
    """How much was exported, and what was left out or odd.

    Parameters
    ----------
    uncounted
        How many of the images are in a table of counts without one.
    """

    images: int
    boxes: int
    notes: tuple[str, ...]
    uncounted: int = 0


def export_voc(
    services: Services,
    project: int,
    out: Path,
    one_based: bool = False,
    corrected_only: bool = True,
    with_images: bool = True,
) -> Exported:
    """Write a VOC file for each image, with the raw images, as a new folder or a zip.

    The folder, or the zip, is there whole or not at all. Images of one name get names of their
    own; an image without a cell gets a VOC file without an object; ``export.json`` tells what each
    came from, and what was left out or odd. Boxes are written as they were drawn: those that look
    wrong to the label guard are listed in ``warnings.csv`` as well. Of an image whose raw file is
    gone or damaged the boxes come alone, and a note says so.

    Parameters
    ----------
    out
        A path that ends in ``.zip`` (replaced when it is there), or a new or empty folder.
    one_based
        Write 1-based inclusive coordinates.
    corrected_only
        Leave out images that nobody corrected; else they come with the champion's boxes.
    with_images
        Put the raw image files into it.

    Raises
    ------
    BadRequest
        ``out`` is a folder that holds something, or there is nothing to export.
    NotFound
        There is no such project.
    """
    chosen, notes = _chosen(services, project, corrected_only)
    notes += _warnings(chosen, f"exported as drawn and listed in {WARNINGS}")
    entries = _Entries(services, project, one_based, with_images, notes)
    (_into_zip if out.suffix.lower() == ".zip" else _into_folder)(out, entries.of(chosen))
    return _exported(chosen, entries.notes)


def export_csv(
    services: Services,
    project: int,
    out: Path,
    one_based: bool = False,
    corrected_only: bool = True,
) -> Exported:
    """Write the boxes of all images into one CSV file (``boxes_csv``), whole or not at all.

    Images have the names that :func:`export_voc` gives them. The format has no line for an image
    without a cell: a note names these.

    Parameters
    ----------
    one_based, corrected_only
        As in :func:`export_voc`.

    Raises
    ------
    BadRequest
        There is nothing to export.
    NotFound
        There is no such project.
    """
    chosen, notes = _chosen(services, project, corrected_only)
    rows = [
        (image.file_name, image.counted.width, image.counted.height, image.counted.boxes)
        for image in chosen
    ]
    write_whole(out, write_csv(rows, one_based))
    if empty := [name for name, *_, boxes in rows if not boxes]:
        notes.append(f"without a cell, and so without a line: {shortened(empty)}")
    notes += _renamed(chosen) + _turned(services, chosen) + _warnings(chosen, "exported as drawn")
    return _exported(chosen, notes)


def export_counts(services: Services, project: int, out: Path) -> Exported:
    """Write the counts of a project's images as CSV, whole or not at all.

    Images have the names that :func:`export_voc` gives them.

    Raises
    ------
    NotFound
        There is no such project.
    """
    known, notes = known_images(services, project)
    classes = services.projects.get(project).classes
    named = [replace(k.counted, name=k.file_name) for k in known]
    write_whole(out, counts_csv(named, classes))
    boxes = sum(len(k.counted.boxes) for k in known)
    notes += [note for image in known for note in image.notes]
    notes += _unknown(known) + _renamed(known) + _warnings(known, "counted as drawn")
    notes += _unseen(services, project)
    uncounted = sum(not _has_count(image) for image in known)
    return Exported(len(known), boxes, tuple(notes), uncounted)


def _unknown(images: Sequence[KnownImage]) -> list[str]:
    unknown = [k.file_name for k in images if not (_has_count(k) or k.is_lost)]
    why = "nobody opened it and no new champion gave it boxes"
    files = "`cytoloop predict` counts files at once"
    return [f"nothing known yet, since {why}: {shortened(unknown)}; {files}"] if unknown else []


def _unseen(services: Services, project: int) -> list[str]:
    """Say how many tasks Label Studio had at the last look of which no image is known."""
    there = services.projects.get(project).tasks or 0
    unseen = there - len(services.images.known_tasks(project))
    if unseen <= 0:
        return []
    why = "not opened yet, or the image cannot be read"
    return [f"not counted: {counted(unseen, 'task')} of Label Studio without an image here: {why}"]


def _renamed(images: Sequence[KnownImage]) -> list[str]:
    others = [
        f"{image.counted.name} ({image.file_name})"
        for image in images
        if image.file_name != image.counted.name
    ]
    kept = "the same in all exports; an image whose task was deleted keeps its name"
    return [f"under another name ({kept}): {shortened(others)}"] if others else []


def _turned(services: Services, images: Sequence[KnownImage]) -> list[str]:
    return turned_note(
        [k.file_name for k in images if not k.stored.page and _is_turned(services, k)]
    )


def _is_turned(services: Services, image: KnownImage) -> bool:
    try:
        return is_turned(services.images.path(image.stored.sha256))
    except (NotFound, UnreadableImage):  # gone or damaged since: its boxes are known all the same
        return False


def _warnings(images: Sequence[KnownImage], fate: str) -> list[str]:
    aside = [one for image in images for one in image.aside]
    return [f"{summary(aside)}: {fate}"] if aside else []


def _chosen(
    services: Services, project: int, corrected_only: bool
) -> tuple[list[KnownImage], list[str]]:
    known, notes = known_images(services, project)
    chosen = [k for k in known if k.corrected or (not corrected_only and _has_count(k))]
    if skipped := [k.file_name for k in chosen if SKIPPED in k.counted.flags]:
        notes.append(f"with what was predicted, since annotators skipped it: {shortened(skipped)}")
    if not corrected_only:
        notes += _unknown(known)
    if lost := [k for k in known if k.is_lost]:
        names = shortened([k.file_name for k in lost])
        notes.append(f"left out, since nothing of what was drawn can be used: {names}")
        notes += [note for k in lost for note in k.notes]
    if not chosen:
        nothing = (
            f"Project {project} has no {'corrected' if corrected_only else 'known'} image to export"
            + (": correct some first, or export predictions too." if corrected_only else ".")
        )
        raise BadRequest("\n  ".join([nothing, *first_of(notes)]))
    return chosen, notes


def _exported(chosen: Sequence[KnownImage], notes: Sequence[str]) -> Exported:
    own = [note for image in chosen for note in image.notes]
    return Exported(len(chosen), sum(len(k.counted.boxes) for k in chosen), (*own, *notes))


def _has_count(image: KnownImage) -> bool:
    return image.counted.source != "none"


class _Entries:
    """The files of one export, and the notes on it, to which they may add."""

    def __init__(
        self,
        services: Services,
        project: int,
        one_based: bool,
        with_images: bool,
        notes: Sequence[str],
    ) -> None:
        self._services = services
        self._project = project
        self._one_based = one_based
        self._with_images = with_images
        self.notes = list(notes)
        self._turned = list[str]()

    def of(self, images: Iterable[KnownImage]) -> Iterator[Entry]:
        """Yield each VOC file and each image, at last what all of it came from."""
        contents, odd = list[dict[str, Any]](), list[Sequence[Any]]()
        for image in images:
            name = image.file_name
            depth, raw = self._raw(image)
            size = image.counted.width, image.counted.height
            boxes: Sequence[Box] = image.counted.boxes
            voc = voc_bytes(name, *size, depth, boxes, self._one_based)
            yield f"{ANNOTATIONS}/{PurePosixPath(name).stem}.xml", voc
            if raw and self._with_images:
                yield f"{IMAGES}/{name}", raw
            contents.append(_came_from(image, name))
            odd += [_warning(name, one) for one in image.aside]
        if odd:
            yield WARNINGS, as_csv([WARNING_COLUMNS, *odd])
        self.notes += turned_note(self._turned)
        yield CONTENTS, self._contents(contents)

    def _raw(self, image: KnownImage) -> tuple[int, bytes | Path | None]:
        """Return the depth of an image, and its file; None where that is gone or damaged."""
        name, page = image.counted.name, image.stored.page
        try:
            path = self._services.images.path(image.stored.sha256)
            if page:  # comes as a grey TIFF
                return 1, page_as_tiff(path, page) if self._with_images else None
            depth, turned = told_of(path)
        except NotFound:
            self.notes.append(f"{name}: the raw file is gone, only its boxes came")
            return 1, None
        except UnreadableImage:
            self.notes.append(f"{name}: its raw file is damaged, only its boxes came")
            return 1, None
        self._turned += [image.file_name] if turned else []
        return depth, path

    def _contents(self, images: list[dict[str, Any]]) -> bytes:
        values = {
            "project": self._project,
            "coordinates": "1-based, inclusive" if self._one_based else "0-based, half-open",
            "notes": self.notes,
            "images": images,
        }
        return json.dumps(values, indent=1).encode()


def _warning(name: str, one: SetAside) -> tuple[Any, ...]:
    edges = (round(edge, 3) for edge in one.box.xyxy_px)
    return name, one.box.label, *edges, one.reason, one.why


def _came_from(image: KnownImage, name: str) -> dict[str, Any]:
    return {
        "image": name,
        "name": image.counted.name,
        "sha256": image.stored.sha256,
        "page": image.stored.page,
        "source": image.counted.source,
        "model_version": image.counted.model_version,
        "annotator": image.counted.annotator,
        "notes": image.notes,
    }


def _into_folder(out: Path, entries: Iterable[Entry]) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BadRequest(f"{out} is there already: give a new folder, nothing is overwritten.")
    with partial_folder(out) as folder:
        for name, content in entries:
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(content.read_bytes() if isinstance(content, Path) else content)


def _into_zip(out: Path, entries: Iterable[Entry]) -> None:
    # A zip knows no date before 1980: a file of an instrument without a clock gets that one.
    with (
        partial_file(out) as partial,
        zipfile.ZipFile(partial, "w", strict_timestamps=False) as archive,
    ):
        for name, content in entries:
            if isinstance(content, Path):  # images are compressed as they are
                archive.write(content, name, compress_type=zipfile.ZIP_STORED)
            else:
                archive.writestr(name, content, compress_type=zipfile.ZIP_DEFLATED)
