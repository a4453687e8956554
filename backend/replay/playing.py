"""One replay, image by image: open, correct, submit, and wait where a run is due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from backend.datasets.drawn import AS_OURS, Notation
from backend.effort.report import images_learned_from
from backend.errors import BadRequest
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import Region, to_boxes, to_regions
from backend.replay.correcting import CAREFUL, Carelessness, Corrected, correct
from backend.replay.ledger import Ledger, Row, row_of
from backend.services import Services
from backend.settings import Settings
from backend.store.projects import Project
from model.boxes import Box
from model.judging.policy import version_of
from model.keeping.registry import Registry
from model.labels.examples import LabelledImage


@dataclass(frozen=True)
class Opened:
    """What a task shows when it is opened.

    Parameters
    ----------
    prediction
        Label Studio's id of it; in process the task's own.
    served
        Name of version and policy.
    learned
        Images that the version learned from.
    """

    regions: tuple[Region, ...]
    served: str
    learned: int
    prediction: int


class Desk(Protocol):
    """Where an annotator sits: the real loop over HTTP, or the same without its servers."""

    form: str
    project: Project

    def tasks(self) -> Mapping[str, tuple[int, bool]]:
        """Return each image's task, and whether it was submitted already, by the sha256."""

    def open(self, task: int) -> Opened:
        """Show a task with the boxes of the present champion."""

    def submit(self, task: int, regions: Sequence[Region], seconds: float, opened: Opened) -> None:
        """Hand a task in."""

    def settle(self, corrected: int) -> None:
        """Wait for the run that is due at so many corrected images of the project, if any is."""


@dataclass(frozen=True)
class LabelledSet:
    """The labelled images that a replay plays, in its order, and the classes of their project."""

    images: Sequence[LabelledImage]
    classes: Sequence[str]


@dataclass(frozen=True)
class Play:
    """How a replay is played.

    Parameters
    ----------
    notation
        How the truth was read.
    lag
        Images that are corrected before the outcome of a run is served.
    folds
        Of the floor; 0: there is none.
    start
        A version to begin with and the registry that has it; None: as the settings say.
    """

    carelessness: Carelessness = CAREFUL
    notation: Notation = AS_OURS
    lag: int = 0
    folds: int = 0
    start: tuple[str, Registry] | None = None

    def begins_with(self, settings: Settings) -> str:
        """Return the id of the version that is served first."""
        return self.start[0] if self.start else settings.first_version

    def chosen(self, form: str, settings: Settings, **more: object) -> dict[str, object]:
        """Return by name all that was chosen and decides what the rows say.

        Parameters
        ----------
        form
            Where it is played.
        more
            What is chosen in that form alone.
        """
        return {
            "form": form,
            **more,
            "map": dict(self.notation.mapping),
            "one_based": self.notation.one_based,
            **asdict(self.carelessness),
            "preset": settings.preset,
            "iterations": settings.iterations,
            "contrast": settings.contrast or "of the preset",
            "milestones": list(settings.milestones),
            "milestone_step": settings.milestone_step,
            "default_class": settings.default_class,
        }


def in_drawn_order(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Return the images as if drawn by chance, the same way everywhere: by their hashes."""
    return sorted(images, key=lambda image: image.sha256)


def play(
    desk: Desk, images: Iterable[LabelledImage], ledger: Ledger, how: Play | None = None
) -> Iterator[Row]:
    """Correct the images in order; what was played before is not played again.

    Parameters
    ----------
    images
        Each is asked for when the one before was submitted and its run, if one was due, is done.

    Yields
    ------
    Each new row, before the next image is opened.

    Raises
    ------
    BadRequest
        An image has no task, or was corrected by someone else.
    """
    how = how or Play()
    tasks = desk.tasks()
    corrected = sum(done for _, done in tasks.values())
    desk.settle(corrected)
    for image in images:
        task, done = tasks.get(image.sha256, (0, False))
        if not task:
            raise BadRequest(f"{image.name} is in no task of project {desk.project.id}: import it.")
        if done and image.sha256 not in ledger:
            raise BadRequest(
                f"{image.name} is corrected already, but not by this replay: its row is missing. "
                "Begin anew with another --out, with --live in another project."
            )
        if not done:
            corrected += 1
            yield _play_one(desk, corrected, task, image, ledger, how)
            desk.settle(corrected)


def learned_from(services: Services, project: int, served: str) -> int:
    """Return from how many corrected images a served version learned; 0 before the first run."""
    return images_learned_from(services.runs.all(project)).get(version_of(served), 0)


def _play_one(
    desk: Desk, number: int, task: int, image: LabelledImage, ledger: Ledger, how: Play
) -> Row:
    raw = image.read()
    opened = desk.open(task)
    served, _ = to_boxes(opened.regions, *raw.size)
    corrected = correct(served, image.boxes, image.sha256, how.carelessness)
    row = row_of(
        desk.form,
        number,
        (image.name, image.sha256),
        (opened.served, opened.learned),
        corrected,
        len(image.boxes),
    )
    # First the row: after a crash in between the image is opened again and the row is known.
    ledger.add(row)
    interface = LabellingInterface.parse(desk.project.label_config)
    regions = submitted_regions(opened.regions, corrected, raw.size, interface)
    desk.submit(task, regions, row.seconds, opened)
    return row


def submitted_regions(
    served: Sequence[Region],
    corrected: Corrected,
    size: tuple[int, int],
    interface: LabellingInterface,
) -> list[Region]:
    """Write what is submitted as the page does: ids stay, and ``origin`` says what was touched.

    Parameters
    ----------
    size
        Width and height of the image in pixels.
    """
    written = to_regions(corrected.boxes, *size, interface)
    before, _ = to_boxes(served, *size)
    return [
        _region(region, box, None if index is None else (served[index], before[index]))
        for region, box, index in zip(written, corrected.boxes, corrected.served, strict=True)
    ]


def _region(written: Region, box: Box, was: tuple[Region, Box] | None) -> Region:
    if was is None:
        return {**written, "id": f"drawn-{written['id']}", "origin": "manual"}
    region, before = was
    if replace(box, score=None) == replace(before, score=None):
        return {**region, "origin": "prediction"}
    changed: dict[str, Any] = {**written, "id": region["id"], "origin": "prediction-changed"}
    return changed
