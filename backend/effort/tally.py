"""Adds up corrections: how much work a cell was, and how good the served boxes were."""

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
#: With fewer watched boxes no share is shown: it would pass for a verdict on a person.
FEWEST_CHANCES = 10
#: The least images and cells of known time from which to say how long a cell takes by hand.
FEWEST_BY_HAND = 5
FEWEST_CELLS_BY_HAND = 50
#: Standard deviations on either side that hold 95 % of a normal distribution.
Z_95 = 1.96


@dataclass(frozen=True)
class ByHand:
    """Seconds that a cell takes by hand, that is without boxes, by each source.

    Parameters
    ----------
    project
        Measured in the project itself; None if too few cells were drawn.
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
        Only those that a person made in the page.
    """

    corrections: tuple[Correction, ...]

    @property
    def images(self) -> int:
        """The number of corrected images, each counted once, whoever corrected it."""
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
        """Seconds and cells of each annotation that has cells and a known time."""
        known = ((c.seconds, c.cells) for c in self.corrections if c.cells)
        return tuple((seconds, cells) for seconds, cells in known if seconds is not None)

    @property
    def timed_images(self) -> int:
        """The number of images behind :attr:`timed`, each counted once."""
        return len({c.task for c in self.corrections if c.cells and c.seconds is not None})

    @property
    def seconds_per_cell(self) -> float | None:
        """The median over annotations: a long break in one does not move it."""
        return median(s / cells for s, cells in self.timed) if self.timed else None

    def hours_saved(self, by_hand_s: float) -> float | None:
        """Hours saved against ``by_hand_s`` a cell, over images with boxes and a known time.

        The time spent is the median seconds a cell of these images; an image without cells costs
        its own time. Somebody who annotates an image again would not have drawn its cells again:
        these count once. Negative if the work took longer than drawing every cell; None if no time
        is known.
        """
        part = self.with_boxes
        empty = [c.seconds for c in part.corrections if not c.cells and c.seconds is not None]
        if part.seconds_per_cell is None:
            return -sum(empty) / 3600 if empty else None
        spent = part.seconds_per_cell * sum(cells for _, cells in part.timed) + sum(empty)
        once = {(c.task, c.annotator): c.cells for c in part.corrections if c.seconds is not None}
        return (by_hand_s * sum(once.values()) - spent) / 3600

    def share_at(self, iou: float) -> float | None:
        """Return the share of served boxes that overlap the submitted ones by at least ``iou``.

        None if nothing was served.
        """
        part = self.with_boxes
        paired = part.cells - part.actions.added
        off = sum(overlap < iou for c in part.corrections for overlap in c.overlaps)
        served = paired + part.actions.deleted
        return (paired - off) / served if served else None

    @property
    def with_boxes(self) -> Tally:
        """Only the corrections that began with served boxes."""
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
    """Return one tally for each name that ``by`` gives, in order of first occurrence."""
    parts: dict[str, list[Correction]] = {}
    for correction in corrections:
        parts.setdefault(by(correction), []).append(correction)
    return {name: Tally(tuple(part)) for name, part in parts.items()}


@dataclass(frozen=True)
class Work:
    """How much work there is now, was in all, and is without boxes.

    Parameters
    ----------
    now
        Images that opened with the champion's boxes.
    total
        All images that opened with boxes, or in which nothing was found.
    by_hand
        Images in which no version looked for cells.
    """

    now: Tally
    total: Tally
    by_hand: Tally

    @property
    def seconds_by_hand(self) -> ByHand:
        """What the hours saved are measured against."""
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
    """Leave out what was imported with its boxes, and watched images.

    Imports were nobody's work here; watched images were more work than the boxes would be.
    """
    return tuple(c for c in corrections if c.start != "import" and not c.watched)


@dataclass(frozen=True)
class Watchfulness:
    """What an annotator found in watched images.

    Parameters
    ----------
    corrections
        Only those of watched images.
    """

    corrections: tuple[Correction, ...]

    def images(self, kind: WatchKind) -> int:
        return sum(c.watched == kind for c in self.corrections)

    def drawn(self, kind: WatchKind) -> tuple[int, int]:
        """Return the number of withheld boxes that were drawn, and of all withheld."""
        part = [c for c in self.corrections if c.watched == kind]
        return sum(c.drawn for c in part), sum(c.hidden for c in part)

    @property
    def rejected(self) -> tuple[int, int]:
        """The number of planted boxes that were not let stand, and of all planted."""
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
    """Return the 95 % interval of a share (Wilson 1927); None if ``whole`` is 0."""
    if not whole:
        return None
    share, doubt = part / whole, Z_95**2 / whole
    middle = (share + doubt / 2) / (1 + doubt)
    away = sqrt(doubt * (share * (1 - share) + doubt / 4)) / (1 + doubt)
    return Interval(middle - away, middle + away)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
