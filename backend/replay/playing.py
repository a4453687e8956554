"""Plays one replay image by image: open, correct, submit, and wait if a run is due."""

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
        Label Studio's id of the prediction; in process the task's own id.
    served
        Name of version and policy.
    learned
        Number of images that the version learned from.
    """

    regions: tuple[Region, ...]
    served: str
    learned: int
    prediction: int


class Desk(Protocol):
    """Where an annotator works: the real loop over HTTP, or the same without its servers."""

    form: str
    project: Project

    def tasks(self) -> Mapping[str, tuple[int, bool]]:
        """Return, by sha256, each image's task and whether it was already submitted."""

    def open(self, task: int) -> Opened:
        """Show a task with the boxes of the present champion."""

    def submit(self, task: int, regions: Sequence[Region], seconds: float, opened: Opened) -> None:
        """Submit a task."""

    def settle(self, corrected: int) -> None:
        """Wait for the run, if any, that is due at this many corrected images of the project."""


@dataclass(frozen=True)
class LabelledSet:
    """The labelled images of a replay, in its order, and the classes of their project."""

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
        Number of images corrected before a run's outcome is served.
    folds
        Number of folds of the floor; 0 for no floor.
    start
        A version to begin with, and the registry that has it; None: as the settings say.
    """

    carelessness: Carelessness = CAREFUL
    notation: Notation = AS_OURS
    lag: int = 0
    folds: int = 0
    start: tuple[str, Registry] | None = None

    def begins_with(self, settings: Settings) -> str:
        """Return the id of the version that serves first."""
        return self.start[0] if self.start else settings.first_version

    def chosen(self, form: str, settings: Settings, **more: object) -> dict[str, object]:
        """Return, by name, all choices that affect the rows.

        Parameters
        ----------
        form
            Where it is played.
        more
            Choices of that form only.
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
    """Return the images in an order like a random draw, the same everywhere: by hash."""
    return sorted(images, key=lambda image: image.sha256)


def play(
    desk: Desk, images: Iterable[LabelledImage], ledger: Ledger, how: Play | None = None
) -> Iterator[Row]:
    """Correct the images in order; skip what was already played.

    Parameters
    ----------
    images
        Each is requested after the one before was submitted and its run, if due, is done.

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
    """Return how many corrected images a served version learned from; 0 before the first run."""
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
    # The row comes first: after a crash in between, the image is opened again, its row known.
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
    """Return submitted regions as the page writes them: ids stay, ``origin`` says what was touched.

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
