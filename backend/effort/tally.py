"""Corrections added up: how much work a cell was, and how good the served boxes were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from backend.effort.actions import BY_HAND_S_PER_CELL, Actions
from backend.store.corrections import Correction
from backend.store.predictions import WatchKind

#: IoU from which a served box is tight, and very tight.
TIGHT, VERY_TIGHT = 0.75, 0.9


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
        """Seconds and cells of each image that has cells and of which the time is known."""
        known = ((c.seconds, c.cells) for c in self.corrections if c.cells)
        return tuple((seconds, cells) for seconds, cells in known if seconds is not None)

    @property
    def seconds_per_cell(self) -> float | None:
        """The median over the images: a long break on one image does not move it."""
        return median(s / cells for s, cells in self.timed) if self.timed else None

    @property
    def hours_saved(self) -> float:
        """Against ``BY_HAND_S_PER_CELL``, over the images with boxes of which the time is known.

        Negative where the work took longer than drawing every cell.
        """
        timed = Tally(self._with_boxes).timed
        seconds = sum(BY_HAND_S_PER_CELL * cells - taken for taken, cells in timed)
        return seconds / 3600

    def share_at(self, iou: float) -> float | None:
        """Return the share of the served boxes that overlap what was submitted by ``iou``.

        None where nothing was served.
        """
        with_boxes = self._with_boxes
        total = Tally(with_boxes).actions
        paired = sum(c.cells - c.actions.added for c in with_boxes)
        off = sum(overlap < iou for c in with_boxes for overlap in c.overlaps)
        served = paired + total.deleted
        return (paired - off) / served if served else None

    @property
    def _with_boxes(self) -> tuple[Correction, ...]:
        """Those of images that were served boxes."""
        return tuple(c for c in self.corrections if c.start == "prediction")

    def to_json(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "cells": self.cells,
            **vars(self.actions),
            "effort": _rounded(self.effort),
            "seconds_per_cell": _rounded(self.seconds_per_cell),
            "timed_images": len(self.timed),
            "hours_saved": round(self.hours_saved, 4),
            "share_at_iou_75": _rounded(self.share_at(TIGHT)),
            "share_at_iou_90": _rounded(self.share_at(VERY_TIGHT)),
        }


def tallies(corrections: Iterable[Correction], by: Callable[[Correction], str]) -> dict[str, Tally]:
    """Return one tally for each name that ``by`` gives, in the order in which they come first."""
    parts: dict[str, list[Correction]] = {}
    for correction in corrections:
        parts.setdefault(by(correction), []).append(correction)
    return {name: Tally(tuple(part)) for name, part in parts.items()}


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
        shares = {name: _share(*counts) for name, counts in found.items()}
        counts = {f"{name}_counts": list(counts) for name, counts in found.items()}
        images = {"blank_images": self.images("blank"), "fault_images": self.images("fault")}
        return images | shares | counts


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
