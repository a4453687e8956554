"""Freezes corrections as the set of labelled images that a run learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sqlalchemy.exc import OperationalError

from backend.effort.believing import corrected_images
from backend.errors import NotFound
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_labels
from backend.learning.taken import run_folder
from backend.services import Services
from backend.settings import Settings
from backend.store.images import StoredImage
from backend.store.projects import Project
from backend.store.runs import Run
from model.boxes import Box
from model.labels.examples import DatasetSnapshot, LabelledImage, Side
from model.labels.label_guard import NONE_USABLE, ImageLabels, guard, summary, without
from model.labels.likeness import alike_to_any, fingerprint_of, group_alike
from model.labels.sides import content_hash, decide_sides
from model.progress import ignore_note
from model.wording import counted
from preprocessing.errors import UnreadableImage
from preprocessing.images import PageKey, read_image

#: Called with what a person should know: boxes that were changed or left out, and why.
OnNote = Callable[[str], None]
#: Why boxes are left out if the label_config does not, or no longer, have their class.
NO_CLASS = "no class of the RectangleLabels"


@dataclass(frozen=True)
class _Example:
    """An image, and what can be learned from the annotation that counts for it.

    Parameters
    ----------
    notes
        What was changed in it or left out.
    """

    image: StoredImage
    labels: ImageLabels
    notes: tuple[str, ...]

    @property
    def key(self) -> PageKey:
        return self.image.key


def build_snapshot(services: Services, project: int, on_note: OnNote) -> DatasetSnapshot:
    """Freeze the present corrections, without the boxes that the label guard sets aside.

    An image is left out if nothing drawn on it can be used, or if its raw file is gone or damaged:
    one image in thousands stops no run.

    Images get their side here, for ever; an image of the same field as an earlier one gets that
    image's side. One or two images beyond full fives get none yet and wait for the next run (see
    ``model.labels.sides.decide_sides``).

    Parameters
    ----------
    on_note
        Called with what was changed or left out.

    Raises
    ------
    NotFound
        The project is not known.
    """
    chosen = services.projects.get(project)
    guarded = _guarded(_learnable(services, project, on_note), project, on_note)
    _decide(services, project, [example.image for example, _ in guarded], on_note)
    sides = {i.key: i.side for i in services.images.all(project)}
    labelled = []
    for example, boxes in guarded:
        if side := sides[example.key]:
            labelled.append(_labelled(services, example, boxes, side))
    if waiting := len(guarded) - len(labelled):
        on_note(
            f"{counted(waiting, 'corrected image')} left for the next run: of five, or of three "
            "that are left over, one is held out to judge"
        )
    return DatasetSnapshot(tuple(labelled), chosen.classes)


def snapshot_file(settings: Settings, run_id: int) -> Path:
    """Return the file of a run's snapshot."""
    return run_folder(settings, run_id) / "snapshot.json"


def frozen(services: Services, run: Run, on_note: OnNote) -> DatasetSnapshot | None:
    """Return what a run froze, with paths into this home, which may have been moved.

    Parameters
    ----------
    on_note
        Called with why the snapshot cannot be used, such as after a power cut.

    Returns
    -------
    None if the run froze nothing, or its file or a raw file is gone or cannot be read.
    """
    path = snapshot_file(services.settings, run.id)
    if run.snapshot is None or not path.exists():
        return None
    try:
        snapshot = DatasetSnapshot.load(path)
        here = tuple(replace(i, path=services.images.path(i.sha256)) for i in snapshot.images)
    except (OSError, ValueError, TypeError, LookupError) as error:
        on_note(f"what run {run.id} froze cannot be used: {type(error).__name__}: {error}")
        return None
    return replace(snapshot, images=here)


def frozen_whole(services: Services, run: Run, on_note: OnNote) -> DatasetSnapshot | None:
    """Return what :func:`frozen` does, or None if a raw file was damaged since; all are read."""
    snapshot = frozen(services, run, on_note)
    if snapshot is None:
        return None
    for image in {image.sha256: image for image in snapshot.images}.values():
        if not services.images.is_whole(image.sha256):
            on_note(
                f"what run {run.id} froze cannot be used: the raw file of {image.name} is damaged; "
                "import it again"
            )
            return None
    return snapshot


def labels_of(services: Services, project: int, on_note: OnNote) -> list[ImageLabels]:
    """Return the boxes of each corrected image as the label guard sees them.

    Raises
    ------
    NotFound
        The project is not known.
    """
    examples = _examples(services, project, on_note)
    for note in _notes(examples):
        on_note(note)
    return [example.labels for example in examples]


def fingerprint(services: Services, image: StoredImage) -> str:
    """Return an image's fingerprint, empty if it has none; made when first asked for, then kept."""
    if image.fingerprint is not None:
        return image.fingerprint
    try:
        pixels = read_image(services.images.path(image.sha256), image.page, image.sha256).pixels
    except (NotFound, UnreadableImage):
        return ""  # whoever reads it to learn from it reports that
    made = fingerprint_of(pixels)
    with suppress(OperationalError):  # if it cannot be written it is made anew each time
        services.images.set_fingerprint(*image.key, made)
    return made


def unseen_images(
    services: Services, project: int, snapshot: DatasetSnapshot
) -> list[LabelledImage]:
    """Return the corrected images that a snapshot lacks and from whose field nobody learned.

    They were corrected after it was frozen, or wait for a side: no version has seen them.
    """
    frozen = {image.key for image in snapshot.images}
    examples = _learnable(services, project, ignore_note, frozen)  # the snapshot has noted it
    guarded = _guarded(examples, project, ignore_note)
    unseen = [(example, boxes) for example, boxes in guarded if example.key not in frozen]
    labelled = [_labelled(services, example, boxes, "held-out") for example, boxes in unseen]
    return of_fields_untaught(services, project, labelled)


def of_fields_untaught(
    services: Services, project: int, images: Sequence[LabelledImage]
) -> list[LabelledImage]:
    """Return the images that are unlike every image that teaches, whatever their sides.

    Likeness is not transitive: an image decided after two unlike images may be like both, one of
    which teaches while the other is held out.
    """
    stored = {image.key: image for image in services.images.all(project)}
    taught = [i for i in stored.values() if i.side in ("train", "inner")]
    alike = alike_to_any(
        [fingerprint(services, stored[image.key]) for image in images],
        [fingerprint(services, image) for image in taught],
    )
    return [image for image, known in zip(images, alike, strict=True) if not known]


def _labelled(
    services: Services, example: _Example, boxes: tuple[Box, ...], side: Side
) -> LabelledImage:
    image = example.image
    path = services.images.path(image.sha256)
    return LabelledImage(path, image.sha256, boxes, side, image.page, image.name)


def _examples(services: Services, project: int, on_note: OnNote) -> list[_Example]:
    """Return one example for each image, in order of first correction."""
    chosen = services.projects.get(project)
    return [
        _example(image, annotation, chosen)
        for image, annotation in corrected_images(services, project, on_note)
    ]


def _learnable(
    services: Services,
    project: int,
    on_note: OnNote,
    frozen: Collection[PageKey] = (),
) -> list[_Example]:
    """Return the examples to learn from and judge by; notes name the others.

    Parameters
    ----------
    frozen
        Keys of images whose files were checked when they were frozen.
    """
    is_whole = cache(services.images.is_whole)  # each page of a stack is an image
    learnable = []
    for example in _examples(services, project, on_note):
        if example.labels.none_usable:
            for note in example.notes:
                on_note(note)
        elif example.key not in frozen and (why := _damage(services, example.image, is_whole)):
            on_note(why)
        else:
            learnable.append(example)
    return learnable


def _damage(services: Services, image: StoredImage, is_whole: Callable[[str], bool]) -> str:
    """Return what happened to a raw file since it was taken in; empty if nothing.

    This reads the whole file, as the training then does too, which takes several times longer.
    """
    try:
        services.images.path(image.sha256)
    except NotFound:
        return f"{image.name} left out: its raw file is gone; import it again"
    if not is_whole(image.sha256):
        return f"{image.name} left out: its raw file is damaged; import it again"
    return ""


def _notes(examples: Sequence[_Example]) -> list[str]:
    return [note for example in examples for note in example.notes]


def _decide(
    services: Services, project: int, corrected: Sequence[StoredImage], on_note: OnNote
) -> None:
    decided = [image for image in services.images.all(project) if image.side]
    # Those that teach come first: an image like one of them is then never held out, in whatever
    # order they were corrected or decided.
    decided.sort(key=lambda image: image.side == "held-out")
    images = decided + [image for image in corrected if image.side is None]
    groups = group_alike([fingerprint(services, image) for image in images])
    known = [image.side for image in images]
    hashes = [content_hash(*image.key) for image in images]
    sides = decide_sides(hashes, known, groups, services.projects.get(project).blind)
    new: dict[PageKey, Side] = {}
    for image, side, group in zip(images, sides, groups, strict=True):
        if image.side is None and side is not None:
            new[image.key] = side
            if image is not images[group]:
                on_note(f"{image.name} shows the field of {images[group].name}: both are {side}")
    services.images.set_sides(project, new)


def _guarded(
    examples: Sequence[_Example], project: int, on_note: OnNote
) -> list[tuple[_Example, tuple[Box, ...]]]:
    """Return the examples with the boxes to learn; a note names an example without any."""
    labels = [example.labels for example in examples]
    aside = guard(labels)
    left = list(zip(examples, without(labels, aside), strict=True))
    for example in (example for example, boxes in left if boxes is None):
        on_note(_left_out(example.image))
    if aside:
        on_note(
            f"{summary(aside)}: set aside, not learned from. "
            f"`cytoloop labels check --project {project}` lists all."
        )
    # The guard's notes come first: of many notes the last are only counted.
    for note in [*(one.words for one in aside), *_notes(examples)]:
        on_note(note)
    return [(example, boxes) for example, boxes in left if boxes is not None]


def _example(image: StoredImage, annotation: Annotation, project: Project) -> _Example:
    interface = LabellingInterface.parse(project.label_config)
    size = image.width, image.height
    labels, notes = to_labels(image.name, annotation.result, *size, interface)
    known = tuple(box for box in labels.boxes if box.label in project.classes)
    unknown = Counter(box.label for box in labels.boxes if box.label not in project.classes)
    notes = notes + [
        f"{counted(number, 'box')} of {label!r} left out: {NO_CLASS} "
        f"{interface.from_name!r}, whose classes alone are learned"
        for label, number in sorted(unknown.items())
    ]
    labels = replace(labels, boxes=known, unusable=labels.unusable + unknown.total())
    told = [f"{image.name}: {note}" for note in notes]
    if labels.none_usable:
        told = [_left_out(image), *told]
    return _Example(image, labels, tuple(told))


def _left_out(image: StoredImage) -> str:
    return f"{image.name} left out: {NONE_USABLE}"
