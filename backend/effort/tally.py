"""Corrections added up: how much work a cell was, and how good the served boxes were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import Any, get_args

from backend.actions import BY_HAND_S_PER_CELL, Actions
from backend.store.corrections import Correction
from backend.store.predictions import WatchKind
from model.judging.policy import version_of
from model.reports import Interval

#: IoU from which a served box is tight, and very tight.
TIGHT, VERY_TIGHT = 0.75, 0.9
#: Of fewer watched boxes no share is told: it would be taken for a verdict on a person.
FEWEST_CHANCES = 10
#: So many images and cells, of which the time is known, tell what a cell takes by hand.
FEWEST_BY_HAND = 5
FEWEST_CELLS_BY_HAND = 50
#: Standard deviations on either side that hold 95 % of a normal distribution.
Z_95 = 1.96


@dataclass(frozen=True)
class ByHand:
    """Seconds that a cell takes by hand, which is without boxes: by each source.

    Parameters
    ----------
    project
        As the project itself tells; None where too few cells were drawn to say.
    tare_2020
        The thesis' figure.
    """

    project: float | None = None
    tare_2020: float = BY_HAND_S_PER_CELL


@dataclass(frozen=True)
class Tally:
    """Some corrections, added up.

    Parameters
    ----------
    corrections
        Those that a person made in the page.
    """

    corrections: tuple[Correction, ...]

    @property
    def images(self) -> int:
        """How many images were corrected, each once, whoever did."""
        return len({c.task for c in self.corrections})

    @property
    def annotations(self) -> int:
        return len(self.corrections)

    @property
    def cells(self) -> int:
        return sum(c.cells for c in self.corrections)

    @property
    def actions(self) -> Actions:
        return sum((c.actions for c in self.corrections), Actions())

    @property
    def effort(self) -> float | None:
        """Actions a cell: 1 is drawing everything; None without a cell."""
        return self.actions.number / self.cells if self.cells else None

    @property
    def timed(self) -> tuple[tuple[float, int], ...]:
        """Seconds and cells of each annotation that has cells and of which the time is known."""
        known = ((c.seconds, c.cells) for c in self.corrections if c.cells)
        return tuple((seconds, cells) for seconds, cells in known if seconds is not None)

    @property
    def timed_images(self) -> int:
        """How many images :attr:`timed` is of, each once."""
        return len({c.task for c in self.corrections if c.cells and c.seconds is not None})

    @property
    def seconds_per_cell(self) -> float | None:
        """The median over the images: a long break on one image does not move it."""
        return median(s / cells for s, cells in self.timed) if self.timed else None

    def hours_saved(self, by_hand_s: float) -> float | None:
        """Against so many seconds a cell, over the images with boxes of which the time is known.

        By the median seconds a cell of these; an image without a cell costs its own. Who annotates
        an image once more would not have drawn its cells again: these count once. Negative where
        the work took longer than drawing every cell; None where no time is known.
        """
        part = self.with_boxes
        empty = [c.seconds for c in part.corrections if not c.cells and c.seconds is not None]
        if part.seconds_per_cell is None:
            return -sum(empty) / 3600 if empty else None
        spent = part.seconds_per_cell * sum(cells for _, cells in part.timed) + sum(empty)
        once = {(c.task, c.annotator): c.cells for c in part.corrections if c.seconds is not None}
        return (by_hand_s * sum(once.values()) - spent) / 3600

    def share_at(self, iou: float) -> float | None:
        """Return the share of the served boxes that overlap what was submitted by ``iou``.

        None where nothing was served.
        """
        part = self.with_boxes
        paired = part.cells - part.actions.added
        off = sum(overlap < iou for c in part.corrections for overlap in c.overlaps)
        served = paired + part.actions.deleted
        return (paired - off) / served if served else None

    @property
    def with_boxes(self) -> Tally:
        """Those of images that were served boxes."""
        return Tally(tuple(c for c in self.corrections if c.start == "prediction"))

    def to_json(self, by_hand: ByHand) -> dict[str, Any]:
        saved = {
            source: None if seconds is None else _rounded(self.hours_saved(seconds))
            for source, seconds in vars(by_hand).items()
        }
        return {
            "images": self.images,
            "annotations": self.annotations,
            "cells": self.cells,
            **vars(self.actions),
            "effort": _rounded(self.effort),
            "seconds_per_cell": _rounded(self.seconds_per_cell),
            "timed_images": self.timed_images,
            "hours_saved": saved,
            "share_at_iou_75": _rounded(self.share_at(TIGHT)),
            "share_at_iou_90": _rounded(self.share_at(VERY_TIGHT)),
        }


def tallies(corrections: Iterable[Correction], by: Callable[[Correction], str]) -> dict[str, Tally]:
    """Return one tally for each name that ``by`` gives, in the order in which they come first."""
    parts: dict[str, list[Correction]] = {}
    for correction in corrections:
        parts.setdefault(by(correction), []).append(correction)
    return {name: Tally(tuple(part)) for name, part in parts.items()}


@dataclass(frozen=True)
class Work:
    """How much work it is now, has been, and is without boxes.

    Parameters
    ----------
    now
        Of images that opened with the champion's boxes.
    total
        Of all images that opened with boxes, or in which nothing was found.
    by_hand
        Of those that nothing was looked for in.
    """

    now: Tally
    total: Tally
    by_hand: Tally

    @property
    def seconds_by_hand(self) -> ByHand:
        """What the hours saved are told against."""
        drawn = self.by_hand
        is_told = (
            drawn.timed_images >= FEWEST_BY_HAND
            and sum(cells for _, cells in drawn.timed) >= FEWEST_CELLS_BY_HAND
        )
        return ByHand(drawn.seconds_per_cell if is_told else None)

    def to_json(self) -> dict[str, Any]:
        return {name: tally.to_json(self.seconds_by_hand) for name, tally in vars(self).items()}


def work_of(corrections: Sequence[Correction], champion: str) -> Work:
    """Add up what people did.

    Parameters
    ----------
    champion
        Id of the version that is champion now.
    """
    total = Tally(tuple(corrections)).with_boxes
    now = tuple(c for c in total.corrections if version_of(c.served) == champion)
    by_hand = tuple(c for c in corrections if c.start == "nothing")
    return Work(Tally(now), total, Tally(by_hand))


def made_by_people(corrections: Sequence[Correction]) -> tuple[Correction, ...]:
    """Leave out what was imported with its boxes, and images that were watched.

    The one was nobody's work here, and the other more work than the boxes would have been.
    """
    return tuple(c for c in corrections if c.start != "import" and not c.watched)


@dataclass(frozen=True)
class Watchfulness:
    """What an annotator found in the images that were watched.

    Parameters
    ----------
    corrections
        Of watched images.
    """

    corrections: tuple[Correction, ...]

    def images(self, kind: WatchKind) -> int:
        return sum(c.watched == kind for c in self.corrections)

    def drawn(self, kind: WatchKind) -> tuple[int, int]:
        """Return how many of the withheld boxes were drawn, and how many were withheld."""
        part = [c for c in self.corrections if c.watched == kind]
        return sum(c.drawn for c in part), sum(c.hidden for c in part)

    @property
    def rejected(self) -> tuple[int, int]:
        """How many of the planted boxes were not left as they were, and how many were planted."""
        planted = sum(c.planted for c in self.corrections)
        return planted - sum(c.accepted for c in self.corrections), planted

    def to_json(self) -> dict[str, Any]:
        found = {
            "recall_without_help": self.drawn("blank"),
            "recall_with_help": self.drawn("fault"),
            "planted_rejected": self.rejected,
        }
        told: dict[str, Any] = {f"{kind}_images": self.images(kind) for kind in get_args(WatchKind)}
        for name, (part, whole) in found.items():
            sure = share_interval(part, whole)
            told[name] = round(part / whole, 4) if whole >= FEWEST_CHANCES else None
            told[f"{name}_interval"] = [round(sure.low, 4), round(sure.high, 4)] if sure else None
            told[f"{name}_counts"] = [part, whole]
        return told


def share_interval(part: int, whole: int) -> Interval | None:
    """Return the 95 % interval of a share (Wilson 1927); None of nothing."""
    if not whole:
        return None
    share, doubt = part / whole, Z_95**2 / whole
    middle = (share + doubt / 2) / (1 + doubt)
    away = sqrt(doubt * (share * (1 - share) + doubt / 4)) / (1 + doubt)
    return Interval(middle - away, middle + away)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
