"""Exports a project's boxes as Pascal VOC with raw images or as CSV, and its counts as a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from backend.datasets.boxes_csv import write_csv
from backend.datasets.counts import CountedImage, counts_csv
from backend.datasets.known import known_images
from backend.datasets.known_image import SKIPPED, KnownImage
from backend.datasets.packing import WARNINGS, Files, pack
from backend.datasets.rawfiles import is_known_turned, turned_note
from backend.datasets.writing import write_whole
from backend.errors import BadRequest, NotFound
from backend.services import Services
from model.judging.policy import version_of
from model.judging.ranges import range_of_sum
from model.labels.label_guard import summary
from model.wording import counted, first_of, shortened


@dataclass(frozen=True)
class Exported:
    """What was exported, and what was left out or odd.

    Parameters
    ----------
    uncounted
        The number of images in a table of counts that have no count.
    sums
        The range for the total number of cells in images that nobody corrected.
    """

    images: int
    boxes: int
    notes: tuple[str, ...]
    uncounted: int = 0
    sums: tuple[str, ...] = ()


def export_voc(
    services: Services,
    project: int,
    out: Path,
    one_based: bool = False,
    corrected_only: bool = True,
    with_images: bool = True,
) -> Exported:
    """Write a VOC file for each image, with the raw images, as a new folder or a zip.

    The folder or zip appears whole or not at all. Images with the same name are renamed. An image
    without a cell gets a VOC file without an object. ``export.json`` says where each file came
    from, and what was left out or odd. Boxes are written as they were drawn. ``warnings.csv`` also
    lists those that look wrong to the label guard; drawn regions that give no box are only there.
    If an image's raw file is gone or damaged, its boxes come alone, and a note says so.

    Parameters
    ----------
    out
        A path that ends in ``.zip`` (an existing file is replaced), or a new or empty folder.
    one_based
        Write 1-based inclusive coordinates.
    corrected_only
        Leave out images that nobody corrected; otherwise they come with the champion's boxes.
    with_images
        Include the raw image files.

    Raises
    ------
    BadRequest
        ``out`` is a folder that is not empty, or there is nothing to export.
    NotFound
        There is no such project.
    """
    chosen, left_out, notes = _chosen(services, project, corrected_only)
    notes += _warnings(chosen, f"exported as drawn and listed in {WARNINGS}")
    files = Files(services, project, one_based, with_images, notes)
    pack(out, files.of(chosen, left_out))
    return _exported(chosen, files.notes)


def export_csv(
    services: Services,
    project: int,
    out: Path,
    one_based: bool = False,
    corrected_only: bool = True,
) -> Exported:
    """Write the boxes of all images into one CSV file (``boxes_csv``), whole or not at all.

    Images have the names that :func:`export_voc` gives them. The format has no line for an image
    without a cell: a note names these images.

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
    chosen, _, notes = _chosen(services, project, corrected_only)
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
    return Exported(len(known), boxes, tuple(notes), uncounted, sums=tuple(_sums(named, classes)))


def _sums(images: Sequence[CountedImage], classes: Sequence[str]) -> Iterator[str]:
    """Say, where known, how many cells the predicted images of each version have in all.

    Sums leave out images without a range, such as skipped ones.
    """
    by_version = defaultdict[str, list[CountedImage]](list)
    for image in images:
        if image.source == "predicted" and image.judged:
            by_version[version_of(image.model_version)].append(image)
    for version, predicted in by_version.items():
        parts = [part for label in classes if (part := _sum(label, predicted))]
        if parts:
            several = f"In {counted(len(predicted), 'predicted image')} together"
            yield f"{several} (95 %, {version}): {'; '.join(parts)}"


def _sum(label: str, images: Sequence[CountedImage]) -> str:
    counts = [sum(box.label == label for box in image.boxes) for image in images]
    judged = images[0].judged.get(label, ())
    there = range_of_sum(counts, judged)
    if there is None:
        return ""
    by = f"by {len(judged)} held-out images"
    return f"{there.low} to {there.high} {label}, {sum(counts)} found, {by}"


def _unknown(images: Sequence[KnownImage]) -> list[str]:
    unknown = [k.file_name for k in images if not (_has_count(k) or k.none_usable)]
    why = "nobody opened it and no new champion gave it boxes"
    files = "`cytoloop predict` counts files at once"
    return [f"nothing known yet, since {why}: {shortened(unknown)}; {files}"] if unknown else []


def _unseen(services: Services, project: int) -> list[str]:
    """Say how many tasks without a known image Label Studio had at the last look."""
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
    names = list[str]()
    for image in images:
        with suppress(NotFound):  # its boxes are known even so
            raw = services.images.path(image.stored.sha256)
            if not image.stored.page and is_known_turned(raw):
                names.append(image.file_name)
    return turned_note(names)


def _warnings(images: Sequence[KnownImage], fate: str) -> list[str]:
    aside = [one for image in images for one in image.aside]
    return [f"{summary(aside)}: {fate}"] if aside else []


def _chosen(
    services: Services, project: int, corrected_only: bool
) -> tuple[list[KnownImage], list[KnownImage], list[str]]:
    """Return the images to export, the images of which nothing drawn can be used, and notes."""
    known, notes = known_images(services, project)
    chosen = [k for k in known if k.corrected or (not corrected_only and _has_count(k))]
    if skipped := [k.file_name for k in chosen if SKIPPED in k.counted.flags]:
        notes.append(f"with what was predicted, since annotators skipped it: {shortened(skipped)}")
    if not corrected_only:
        notes += _unknown(known)
    if left_out := [k for k in known if k.none_usable]:
        names = shortened([k.file_name for k in left_out])
        notes.append(f"left out, since nothing of what was drawn can be used: {names}")
        notes += [note for k in left_out for note in k.notes]
    if not chosen:
        nothing = (
            f"Project {project} has no {'corrected' if corrected_only else 'known'} image to export"
            + (": correct some first, or export predictions too." if corrected_only else ".")
        )
        raise BadRequest("\n  ".join([nothing, *first_of(notes)]))
    return chosen, left_out, notes


def _exported(chosen: Sequence[KnownImage], notes: Sequence[str]) -> Exported:
    own = [note for image in chosen for note in image.notes]
    return Exported(len(chosen), sum(len(k.counted.boxes) for k in chosen), (*own, *notes))


def _has_count(image: KnownImage) -> bool:
    return image.counted.source != "none"
