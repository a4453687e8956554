"""What is known of each image of a project: its corrected boxes, or else the champion's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from backend.datasets.counts import CountedImage, Source
from backend.datasets.flagging import (
    flag_aside,
    flag_differing,
    flag_skipped,
    is_exchanged,
    is_unopened,
)
from backend.datasets.judged import JudgedCounts, judged_counts
from backend.datasets.known_image import EXCHANGED, IMPORTED, UNOPENED, KnownImage
from backend.datasets.naming import UniqueNames
from backend.effort.believing import corrected_images
from backend.effort.measuring import measure, started_from
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_labels, unusable_in
from backend.services import Services
from backend.store.corrections import Correction
from backend.store.images import StoredImage
from backend.store.predictions import StoredPrediction
from backend.store.projects import Project
from model.errors import BrokenVersion
from model.judging.policy import version_of
from model.labels.label_guard import NONE_USABLE, ImageLabels
from model.looking.magnification import UNLIKE_SIZE
from preprocessing.images import IMAGE_SUFFIXES, PageKey
from preprocessing.prepare import SIZE_UNKNOWN, UNLIKE_TRAINING

#: Flags that doubt the boxes of a version: they say nothing of what somebody has corrected.
DOUBTING = frozenset({UNLIKE_TRAINING, UNLIKE_SIZE, SIZE_UNKNOWN})


def known_images(services: Services, project: int) -> tuple[list[KnownImage], list[str]]:
    """Return each image of a project in order of import, and notes on what has no image.

    Raises
    ------
    NotFound
        There is no such project.
    """
    owner = services.projects.get(project)
    done = measure(services, project)
    reader = _Reader(
        services,
        owner,
        LabellingInterface.parse(owner.label_config),
        services.annotators.names(),
        _champion(services, project),
        {correction.annotation: correction for correction in done},
        judged_counts(services, project),
        services.images.exchanged(project),
    )
    named, notes = _named(services, project), list[str]()
    # Read one at a time: all that was drawn takes far more memory than the boxes made of it.
    read = {
        image.key: reader.read(*named[image.key], annotation)
        for image, annotation in corrected_images(services, project, notes.append)
        if image.key in named
    }
    # An image whose task was deleted stays in the store, for its side and its name.
    shown = [
        read.get(key) or reader.read(image, file_name, None)
        for key, (image, file_name) in named.items()
        if image.task is not None
    ]
    known = flag_differing(services, project, done, flag_aside(shown))
    return flag_skipped(services, project, known), notes


def _named(services: Services, project: int) -> dict[PageKey, tuple[StoredImage, str]]:
    """Return each image of a project with its name in exports, in order of import."""
    unique = UniqueNames()
    return {
        image.key: (image, unique.stem(image.name) + _suffix(image))
        for image in services.images.all(project)
    }


@dataclass(frozen=True)
class _Reader:
    """Reads what is known of a project's images, one after the other.

    Parameters
    ----------
    names
        Names of annotators, by number.
    champion
        Name of the version and policy that serve the project.
    done
        Each annotation's correction, by annotation id.
    judged
        What each version counted in the images that judged it.
    exchanged
        By task that showed another image before, since when it shows the one that it shows now.
    """

    services: Services
    project: Project
    interface: LabellingInterface
    names: Mapping[str, str]
    champion: str
    done: Mapping[int, Correction]
    judged: Mapping[str, JudgedCounts]
    exchanged: Mapping[int, datetime]

    def read(
        self, image: StoredImage, file_name: str, annotation: Annotation | None
    ) -> tuple[KnownImage, ImageLabels]:
        interface, served = self.interface, self._served(image, annotation)
        annotator, unopened = self._whose(annotation, served)
        exchanged = (EXCHANGED,) if annotation and is_exchanged(annotation, self.exchanged) else ()
        regions = annotation.result if annotation else served.counted if served else ()
        labels, notes = to_labels(image.name, regions, *image.size, interface)
        if labels.none_usable:
            notes = [NONE_USABLE, *notes]
        # Boxes predicted before the config changed still have the earlier names.
        default = self.project.default_class
        boxes = labels.boxes if annotation else interface.named(labels.boxes, default)
        counted = CountedImage(
            name=image.name,
            width=image.width,
            height=image.height,
            boxes=tuple(boxes),
            source=_source(labels, annotation, served),
            model_version=served.served if served else "",
            annotator=self.names.get(annotator, annotator),
            flags=(
                *_flags(served, opened=bool(annotation) and not unopened),
                *unopened,
                *exchanged,
                *notes,
            ),
            judged=self.judged.get(version_of(served.served), {}) if served else {},
        )
        told = tuple(f"{image.name}: {note}" for note in notes)
        gone = unusable_in(regions, *image.size, interface) if labels.unusable else ()
        known = KnownImage(image, counted, file_name, told, (), labels.none_usable, tuple(gone))
        return known, labels

    def _whose(
        self, annotation: Annotation | None, served: StoredPrediction | None
    ) -> tuple[str, tuple[str, ...]]:
        """Return the responsible annotator's number, and a flag if nobody opened the annotation."""
        if annotation is None:
            return "", ()
        annotator, done = annotation.annotator or "", self.done.get(annotation.id)
        if done is None or done.start != "import":
            return annotator, ()
        if not is_unopened(self.services, done):
            return done.updated_by or annotator, ()
        return (annotator, (UNOPENED,)) if served else ("", (IMPORTED,))

    def _served(self, image: StoredImage, annotation: Annotation | None) -> StoredPrediction | None:
        """Return the prediction whose boxes were corrected, or count until somebody corrects them.

        Without a correction it is the champion's in any of the image's tasks, also after a
        roll-back, or else the newest.
        """
        if annotation is None:
            shown = self.services.predictions
            return shown.last_shown_of(image.project, *image.key, self.champion)
        began = self._began_with(image, annotation)
        return None if began is None or began.is_blind else began

    def _began_with(self, image: StoredImage, annotation: Annotation) -> StoredPrediction | None:
        """Return the prediction that an annotation began with.

        A known name is the fastest way; otherwise all that the task was ever shown is read.
        """
        done = self.done.get(annotation.id)
        if done and (name := done.served):
            shown = self.services.predictions.last_shown(annotation.project, annotation.task, name)
            if shown and shown.served == name:
                return shown
        return started_from(self.services, annotation, image.key)


def _flags(served: StoredPrediction | None, opened: bool) -> tuple[str, ...]:
    """Return what was odd about a prediction, or what of it stays once an annotator opened it."""
    flags = served.flags if served else ()
    return tuple(flag for flag in flags if not (opened and flag in DOUBTING))


def _source(
    labels: ImageLabels, annotation: Annotation | None, served: StoredPrediction | None
) -> Source:
    if labels.none_usable:
        return "none"
    return "corrected" if annotation else "predicted" if served else "none"


def _suffix(image: StoredImage) -> str:
    if image.page:
        return ".tif"
    suffix = PurePosixPath(image.name).suffix
    return suffix if suffix.lower() in IMAGE_SUFFIXES else ".png"


def _champion(services: Services, project: int) -> str:
    """Return the served name of a project's champion; only its id if the version cannot be read."""
    with suppress(BrokenVersion):
        return services.registry.served_name(str(project))
    return services.champion_now(project)
