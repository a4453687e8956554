"""A folder of images and the annotations beside them, as labelled images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from backend.datasets.drawn import Truth
from backend.datasets.naming import composed
from backend.datasets.pairing import (
    NAMED_AT_MOST,
    TruthSource,
    find_annotations,
    find_images,
    others_in,
    pair,
    shortened,
)
from backend.errors import BadRequest
from model.boxes import Box
from model.examples import LabelledImage
from model.label_guard import NONE_USABLE, ImageLabels, SetAside, guard, without
from model.wording import Naming, counted, first_of
from preprocessing.errors import UnreadableImage
from preprocessing.images import ImageRecord, read_image

#: Images that people are shown of those left out for one reason.
LEFT_OUT_NAMED = 20


@dataclass(frozen=True)
class LabelledFolder:
    """The usable images of a folder with their boxes.

    Parameters
    ----------
    images
        In order of file name; each content once.
    notes
        What was left out, clipped or odd, in sentences; first the images that were left out.
    labels
        The same boxes with the size of their image, as the label guard sees them.
    unusable
        How many more boxes, or lines of a CSV file, cannot be used.
    """

    images: tuple[LabelledImage, ...]
    notes: tuple[str, ...] = ()
    labels: tuple[ImageLabels, ...] = ()
    unusable: int = 0

    @cached_property
    def aside(self) -> tuple[SetAside, ...]:
        """The boxes that look wrong; they are among the images' boxes all the same."""
        return guard(self.labels)

    @property
    def guarded(self) -> tuple[LabelledImage, ...]:
        """The images without the boxes that look wrong: what may be learned from."""
        left = without(self.labels, self.aside)
        return tuple(
            replace(image, boxes=boxes) for image, boxes in zip(self.images, left, strict=True)
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the boxes, most frequent first."""
        return classes_of(box for image in self.images for box in image.boxes)


def labelled_folder(
    images: Path,
    annotations: Path,
    mapping: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    one_based: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> LabelledFolder:
    """Read the images of a folder that have an annotation of the same stem.

    Parameters
    ----------
    images
        The folder of images.
    annotations
        A folder of VOC files, the same one will do; or a CSV file (``boxes_csv``).
    mapping
        New names for classes, such as ``{"N": "Nucleus"}``.
    classes
        The only classes allowed after the mapping; None allows all.
    one_based
        The annotations count from 1, inclusive.
    on_progress
        Called with the number of images done and the number of all.

    Raises
    ------
    BadRequest
        A folder is missing or without a usable image, an annotation is broken, or a box has a
        class that is not in ``classes``.
    """
    lines: list[str] = []
    misnamed: list[str] = []
    files = find_images(images, misnamed)
    pairing = pair(files, find_annotations(annotations, lines, misnamed))
    beside = others_in(images, [annotations]).notes()
    notes = [*pairing.notes, *pairing.notes_on_the_lone(), *beside, *lines]
    reading = _Reading(mapping or {}, one_based, misnamed, notes, unusable=len(lines))
    for done, (path, annotation) in enumerate(pairing.pairs, start=1):
        reading.take(path, annotation)
        if on_progress:
            on_progress(done, len(pairing.pairs))
    folder = reading.folder()
    check_classes((box for image in folder.images for box in image.boxes), classes)
    if not folder.images:
        raise BadRequest(_nothing_usable(images, annotations, folder.notes))
    return folder


class ImageReader:
    """Reads one image after the other, and keeps what is to be told of them."""

    def __init__(self) -> None:
        #: Why an image is left out, by its path.
        self.left_out: dict[Path, str] = {}
        self._stacks: list[str] = []

    def read(self, path: Path) -> ImageRecord | None:
        """Read the first page of an image; None when it cannot be read, and is left out."""
        try:
            record = read_image(path)
        except UnreadableImage as error:
            self.left_out[path] = str(error).removeprefix(f"{path.name}: ")
            return None
        if record.pages > 1:
            self._stacks.append(path.name)
        return record

    @property
    def notes(self) -> list[str]:
        """What was left out, and of what the first page was taken: a ``Naming`` for all alike."""
        names = defaultdict[str, list[str]](list)
        for path, why in self.left_out.items():
            names[why].append(path.name)
        notes: list[str] = [
            _naming(each, LEFT_OUT_NAMED, after=f" left out: {why}") for why, each in names.items()
        ]
        if stacks := self._stacks:
            several = f"{counted(len(stacks), 'image')} with several pages, of which the first is"
            notes.append(_naming(stacks, NAMED_AT_MOST, before=f"{several} taken: "))
        return notes


def _naming(names: Sequence[str], most: int, before: str = "", after: str = "") -> Naming:
    whole, brief = ", ".join(names), shortened(names, most)
    return Naming(f"{before}{whole}{after}", f"{before}{brief}{after}")


def page_flags(record: ImageRecord) -> tuple[str, ...]:
    """Return the flag of the first page of several, of which the others are not looked at."""
    return (f"first of {record.pages} pages",) if record.pages > 1 else ()


def read_truth(
    path: Path,
    annotation: TruthSource,
    record: ImageRecord,
    mapping: Mapping[str, str],
    one_based: bool,
) -> Truth:
    """Read an image's annotation, its classes under their new names."""
    truth = annotation.read((record.width, record.height), one_based)
    boxes = tuple(replace(box, label=mapping.get(box.label, box.label)) for box in truth.boxes)
    odd = truth.name and composed(Path(truth.name).stem) != composed(path.stem)
    note = f"{annotation.title}: names {truth.name} as its image; taken for {path.name}"
    return replace(truth, boxes=boxes, notes=truth.notes + ((note,) if odd else ()))


def check_classes(boxes: Iterable[Box], allowed: Sequence[str] | None, or_else: str = "") -> None:
    """Raise BadRequest when a box has a class that is not allowed; None allows all.

    Parameters
    ----------
    or_else
        What else can be done about it than to rename the class.
    """
    found = classes_of(boxes)
    unknown = [label for label in found if allowed is not None and label not in allowed]
    if unknown:
        raise BadRequest(
            f"Unknown class {', '.join(unknown)}. The annotations have {', '.join(found)}; known "
            f"are {', '.join(allowed or ()) or 'none'}. Name a known class for it with "
            f"--map {unknown[0]}={(allowed or ('CLASS',))[0]}{or_else and f', or {or_else}'}."
        )


def classes_of(boxes: Iterable[Box]) -> tuple[str, ...]:
    """Return the classes of the boxes, most frequent first, those of equal number by name."""
    counts = Counter(box.label for box in boxes)
    return tuple(sorted(counts, key=lambda label: (-counts[label], label)))


@dataclass
class _Reading:
    """A labelled folder while it is read, image by image."""

    mapping: Mapping[str, str]
    one_based: bool
    misnamed: list[str]
    notes: list[str]
    unusable: int
    reader: ImageReader = field(default_factory=ImageReader)
    kept: dict[str, LabelledImage] = field(default_factory=dict)
    labels: dict[str, ImageLabels] = field(default_factory=dict)

    def take(self, path: Path, annotation: TruthSource) -> None:
        """Read an image with its annotation; notes say why it was left out."""
        if (record := self.reader.read(path)) is None:
            return
        truth = read_truth(path, annotation, record, self.mapping, self.one_based)
        self.notes += truth.notes
        self.unusable += truth.unusable
        if truth.is_lost:
            self.reader.left_out[path] = NONE_USABLE
        elif twin := self.kept.get(record.sha256):
            self.reader.left_out[path] = f"it is the same file as {twin.name}"
        else:
            self._keep(path, record, truth)

    def _keep(self, path: Path, record: ImageRecord, truth: Truth) -> None:
        image = LabelledImage(path.resolve(), record.sha256, truth.boxes, name=path.name)
        self.kept[record.sha256] = image
        self.labels[record.sha256] = ImageLabels(
            path.name, record.width, record.height, truth.boxes
        )

    def folder(self) -> LabelledFolder:
        images, labels = tuple(self.kept.values()), tuple(self.labels.values())
        notes = (*self.misnamed, *self.reader.notes, *self.notes)
        return LabelledFolder(images, notes, labels, self.unusable)


def _nothing_usable(images: Path, annotations: Path, notes: Sequence[str]) -> str:
    return "\n  ".join(
        [
            f"No image of {images} can be used with the annotations of {annotations}:",
            *first_of(notes),
        ]
    )
