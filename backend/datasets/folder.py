"""Reads a folder of images and their annotations as labelled images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from backend.datasets.classes import classes_of, notes_on_alike, notes_on_mapping
from backend.datasets.drawn import AS_OURS, Notation, Truth
from backend.datasets.finding import find_annotations, find_images, others_in
from backend.datasets.naming import composed
from backend.datasets.pairing import TruthSource, pair
from backend.datasets.reading import ImageReader
from backend.errors import BadRequest
from model.boxes import Box
from model.labels.examples import LabelledImage
from model.labels.label_guard import NONE_USABLE, ImageLabels, SetAside, guard, without
from model.wording import Naming, counted, first_of
from preprocessing.images import ImageRecord


@dataclass(frozen=True)
class LabelledFolder:
    """The usable images of a folder with their boxes.

    Parameters
    ----------
    images
        In order of file name; each content once.
    notes
        What was left out, clipped or odd, in sentences; left-out images come first.
    labels
        The same boxes with the size of their image, as the label guard sees them.
    unusable
        The number of further boxes, lines of a CSV file, or annotations of images of another size
        without a box, that cannot be used.
    one_based
        The annotations count from 1, inclusive.
    """

    images: tuple[LabelledImage, ...]
    notes: tuple[str, ...] = ()
    labels: tuple[ImageLabels, ...] = ()
    unusable: int = 0
    one_based: bool = False

    @cached_property
    def aside(self) -> tuple[SetAside, ...]:
        """The boxes that look wrong; the images' boxes include them."""
        return guard(self.labels)

    @property
    def aside_as_annotated(self) -> tuple[SetAside, ...]:
        """The same, with edges counted as in the annotations, so that they can be found there."""
        if not self.one_based:
            return self.aside
        return tuple(replace(one, box=_from_one(one.box)) for one in self.aside)

    @property
    def guarded(self) -> tuple[LabelledImage, ...]:
        """The images without the boxes that look wrong, to learn from and judge by.

        An image whose boxes all look wrong is left out: it would pass for one without cells.
        """
        left = zip(self.images, without(self.labels, self.aside), strict=True)
        return tuple(replace(image, boxes=boxes) for image, boxes in left if boxes is not None)

    @property
    def notes_on_aside(self) -> tuple[str, ...]:
        """Sentences on the images whose boxes all look wrong, and on each box that does."""
        kept = {image.name for image in self.guarded}
        left_out = [image.name for image in self.images if image.name not in kept]
        before = f"{counted(len(left_out), 'image')} left out, {NONE_USABLE}: "
        named = (Naming.of(left_out, before=before),) if left_out else ()
        return *named, *(one.words for one in self.aside_as_annotated)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the boxes, most frequent first."""
        return classes_of(box for image in self.images for box in image.boxes)


def labelled_folder(
    images: Path,
    annotations: Path,
    notation: Notation = AS_OURS,
    on_progress: Callable[[int, int], None] | None = None,
) -> LabelledFolder:
    """Read those images of a folder that have an annotation of the same stem.

    Parameters
    ----------
    images
        The folder of images.
    annotations
        A folder of VOC files, which may be the same one, or a CSV file (``boxes_csv``).
    notation
        How the annotations are written.
    on_progress
        Called with the number of images done and the number of all.

    Raises
    ------
    BadRequest
        A folder is missing or has no usable image, or an annotation is broken.
    """
    files, misnamed = find_images(images)
    found = find_annotations(annotations)
    pairing = pair(files, found.sources)
    beside = others_in(images, [annotations]).notes()
    notes = [*pairing.notes, *pairing.notes_on_the_lone(), *beside, *found.useless]
    left_out = (*misnamed, *found.misnamed)
    reading = _Reading(notation, left_out, notes, unusable=len(found.useless))
    for done, (path, annotation) in enumerate(pairing.pairs, start=1):
        reading.take(path, annotation)
        if on_progress:
            on_progress(done, len(pairing.pairs))
    folder = reading.folder()
    if not folder.images:
        raise BadRequest(_nothing_usable(images, annotations, folder.notes))
    return folder


def _from_one(box: Box) -> Box:
    return replace(box, xmin=box.xmin + 1, ymin=box.ymin + 1)


def read_truth(path: Path, annotation: TruthSource, record: ImageRecord, one_based: bool) -> Truth:
    """Read an image's annotation, with the class names that it uses."""
    truth = annotation.read(record.size, one_based)
    odd = truth.name and composed(Path(truth.name).stem) != composed(path.stem)
    note = f"{annotation.title}: names {truth.name} as its image; taken for {path.name}"
    return replace(truth, notes=truth.notes + ((note,) if odd else ()))


@dataclass
class _Reading:
    """Reads a labelled folder image by image."""

    notation: Notation
    misnamed: Sequence[str]
    notes: list[str]
    unusable: int
    reader: ImageReader = field(default_factory=ImageReader)
    #: The classes as the annotations name them.
    drawn: Counter[str] = field(default_factory=Counter)
    kept: dict[str, LabelledImage] = field(default_factory=dict)
    labels: dict[str, ImageLabels] = field(default_factory=dict)

    def take(self, path: Path, annotation: TruthSource) -> None:
        """Read an image with its annotation; if it is left out, a note says why."""
        if (record := self.reader.read(path)) is None:
            return
        truth = read_truth(path, annotation, record, self.notation.one_based)
        self.drawn.update(box.label for box in truth.boxes)
        truth = replace(truth, boxes=self.notation.renamed(truth.boxes))
        self.notes += truth.notes
        self.unusable += truth.unusable or int(bool(truth.other_size))
        if why := truth.why_left_out:
            self.reader.left_out[path] = why
        elif twin := self.kept.get(record.sha256):
            same = f"it is the same file as {twin.name}"
            differs = ", which has other boxes: look which are right"
            other = set(twin.boxes) != set(truth.boxes)
            self.reader.left_out[path] = same + (differs if other else "")
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
        notes = (*self.misnamed, *self.reader.notes, *self._notes_on_all(), *self.notes)
        return LabelledFolder(images, notes, labels, self.unusable, self.notation.one_based)

    def _notes_on_all(self) -> list[str]:
        """Say what is odd about classes, and which images will teach as images without a cell."""
        boxes = [box for image in self.kept.values() for box in image.boxes]
        notes = notes_on_mapping(self.notation.mapping, self.drawn)
        notes += notes_on_alike(classes_of(boxes))
        if empty := [image.name for image in self.kept.values() if not image.boxes]:
            what = f"{counted(len(empty), 'image')} without a box, taken as without cells"
            notes.append(Naming.of(empty, before=f"{what}: "))
        return notes


def _nothing_usable(images: Path, annotations: Path, notes: Sequence[str]) -> str:
    return "\n  ".join(
        [
            f"No image of {images} can be used with the annotations of {annotations}:",
            *first_of(notes),
        ]
    )
